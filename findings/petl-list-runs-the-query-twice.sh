#!/bin/bash
# petl: list() of a table from a database runs its query twice, a loop over the same table runs it once.
#
# Seen with: petl 1.7.15 under Python 3.11.
# petl.fromdb() keeps the query, not its rows: whoever iterates runs it. Python's list() asks for len() first, to have room, and petl's tables
# answer that by counting their rows, which is another run.
# Output seen, a query of 100 rows that calls a function for each: a loop 100 calls, tocsv() 100, list() 200.
# What it means for users: SELECT enrich_contact(id) … through petl is called twice for each contact. The second call finds the contact filled in
# and costs nothing, unless overwrite is on; then receipts answer it for leadlex.receipt_ttl. With that at 0 it is paid for twice.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install petl==1.7.15
venv/bin/python - <<'P'
import sqlite3
import sys

import petl

connection = sqlite3.connect(":memory:")
calls = 0


def paid(number):
    global calls
    calls += 1
    return number * 10


connection.create_function("paid", 1, paid)
connection.execute("CREATE TABLE contact (id integer)")
connection.executemany("INSERT INTO contact VALUES (?)", [(number,) for number in range(1, 101)])
table = petl.fromdb(connection, "SELECT id, paid(id) AS answer FROM contact")


def calls_of(work):
    global calls
    calls = 0
    work()
    return calls


seen = {
    "loop": calls_of(lambda: [row for row in table]),
    "tocsv": calls_of(lambda: petl.tocsv(table, "out.csv")),
    "list": calls_of(lambda: list(table)),
}
print("petl", petl.__version__, "Python", sys.version.split()[0], "calls for 100 rows:", seen)
assert seen["loop"] == seen["tocsv"] == 100, seen
assert seen["list"] == 200, seen
P
echo "as described"
