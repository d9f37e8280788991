#!/bin/bash
# VACUUM of an emptied queue table makes the sets of later sessions quadratic: a PL/pgSQL trigger keeps the plan of no pages.
#
# Seen with: PostgreSQL 15.20 (Debian 12).
# A trigger looks each row of its transition table up in a queue table by the primary key. Where that table was never vacuumed, the planner
# takes it for ten pages, and the lookup goes by the index, also while the table is empty. Once VACUUM (autovacuum, too) has seen it empty, it
# is taken for no page at all: the lookup is a Seq Scan. The session keeps that plan while its own transaction fills the table, as nothing
# invalidates it, and reads all that it has queued so far for each row that it adds.
# Output seen, 5,000 rows in statements of 250 each: 0 rows read in whole scans before the VACUUM, 12,502,500 after it.
# What it means for users: a queue that is mostly empty is where this strikes, in the first large set after the night. Triggers on such tables
# need SET enable_seqscan = off; leadlex.usage_changed() has it, and statements of ours are planned so.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get -qq download postgresql-15=15.20-0+deb12u1 postgresql-client-15=15.20-0+deb12u1
for package in ./*.deb; do dpkg -x "$package" root; done
bin=$dir/root/usr/lib/postgresql/15/bin
mkdir server && chown nobody server
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups env LC_ALL=C "$@"; }
as_nobody "$bin/initdb" -D server/data -U watcher -A trust -N >/dev/null
as_nobody "$bin/postgres" -D "$dir/server/data" -k "$dir/server" -c listen_addresses= -c autovacuum=off >server.log 2>&1 &
server=$!
sql() { "$bin/psql" -h "$dir/server" -U watcher -d postgres -XqAt -v ON_ERROR_STOP=1 "$@"; }
for _ in $(seq 50); do sql -c 'SELECT 1' >/dev/null 2>&1 && break || sleep 0.2; done
sql <<'S'
CREATE TABLE queue (account uuid, id uuid, PRIMARY KEY (account, id));
CREATE TABLE noted (account uuid, day date);
CREATE TABLE history (account uuid, id uuid, day date DEFAULT current_date, PRIMARY KEY (account, id));
CREATE FUNCTION note_unqueued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO noted SELECT n.account, n.day FROM added AS n
    WHERE NOT EXISTS (SELECT FROM queue AS q WHERE q.account = n.account AND q.id = n.id OFFSET 0) GROUP BY 1, 2;
    RETURN NULL;
END $$;
CREATE TRIGGER note_unqueued AFTER INSERT ON history REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_unqueued();
S
# One transaction of 20 statements, each with 250 rows for both tables; how many rows of the queue were read in whole scans.
fill() {
    sql -c 'SELECT pg_stat_reset()' >/dev/null
    for part in $(seq 20); do
        echo "WITH n AS MATERIALIZED (SELECT md5('a')::uuid AS a, gen_random_uuid() AS i FROM generate_series(1, 250)), q AS (INSERT INTO queue SELECT a, i FROM n)
              INSERT INTO history (account, id) SELECT a, i FROM n;"
    done | { echo 'BEGIN;'; cat; echo 'COMMIT;'; } | sql
    sleep 1
    sql -c "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'queue'"
}
before=$(fill)
sql -c 'DELETE FROM queue' -c 'VACUUM queue'
after=$(fill)
echo "$("$bin/postgres" --version): rows read in whole scans: never vacuumed $before, vacuumed when empty $after"
[ "$before" -eq 0 ]
[ "$after" -gt 5000000 ]
echo "as described"
