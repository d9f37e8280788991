#!/bin/bash
# A GRANT inside an extension's update script makes pg_dump forget what users granted before.
#
# Seen with: PostgreSQL 16.2 (PyPI: pgserver 0.1.4 bundles it); also with PostgreSQL 15.20 of Debian.
# While a script of an extension runs, each GRANT or REVOKE records the object's whole ACL as the initial one
# (pg_init_privs), also what a user had granted on it long before. pg_dump writes the difference to the initial ACL only.
# Output seen: the dump has the user's GRANT before the update, and not after it. The privilege itself still holds:
# it is lost when the dump is restored, without a word.
# What it means for users: an extension must not GRANT on objects that exist already in an update script, unless it
# takes the users' entries out of pg_init_privs again.
set -euo pipefail
dir=$(mktemp -d)
trap '"$dir/pg/bin/pg_ctl" -V >/dev/null 2>&1 && as "$dir/pg/bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1; rm -rf "$dir"' EXIT
as() { if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
    --platform manylinux2014_x86_64 --dest "$dir" pgserver==0.1.4
"$dir/venv/bin/python" -m zipfile -e "$dir"/pgserver-*.whl "$dir/wheel"
mv "$dir/wheel/pgserver/pginstall" "$dir/pg"
for libs in "$dir"/wheel/pgserver.libs; do [ -d "$libs" ] && export LD_LIBRARY_PATH=$libs; done
chmod -R a+rX "$dir"; chmod +x "$dir"/pg/bin/*

extensions=$dir/pg/share/postgresql/extension
printf "default_version = '1.0'\n" >"$extensions/ledger.control"
echo 'CREATE TABLE ledger (amount int);' >"$extensions/ledger--1.0.sql"
echo 'GRANT SELECT ON ledger TO report;' >"$extensions/ledger--1.0--1.1.sql"

mkdir "$dir/run"; chmod 777 "$dir/run" "$dir"
as "$dir/pg/bin/initdb" -D "$dir/data" -U postgres -A trust --no-locale -E UTF8 >/dev/null
as "$dir/pg/bin/pg_ctl" -D "$dir/data" -w -l "$dir/run/log" -o "-k $dir/run -c listen_addresses=''" start >/dev/null
sql() { as "$dir/pg/bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$dir/run" -U postgres -d postgres -c "$1"; }
grants() { as "$dir/pg/bin/pg_dump" -h "$dir/run" -U postgres -d postgres | grep '^GRANT SELECT ON TABLE public.ledger' || true; }

sql 'CREATE ROLE analyst; CREATE ROLE report'
sql 'CREATE EXTENSION ledger'
sql 'GRANT SELECT ON ledger TO analyst'
before=$(grants)
sql "ALTER EXTENSION ledger UPDATE TO '1.1'"
after=$(grants)
holds=$(sql "SELECT has_table_privilege('analyst', 'ledger', 'SELECT')")
echo "$("$dir/pg/bin/postgres" --version); before: '$before'; after: '$after'; analyst may still read: $holds"
[ "$before" = 'GRANT SELECT ON TABLE public.ledger TO analyst;' ]
[ -z "$after" ]
[ "$holds" = t ]
echo "as described"
