#!/bin/bash
# A number that is gone is told as if it were of now, for as long as the query finds no other row.
#
# Seen with: prometheus-sql-exporter 0.4.5-1+b5 (Debian 12), PostgreSQL 15.20.
# Where a query returns one row fewer, the series of that row ends, as it should. Where it returns no row at all, the exporter takes that
# for a failure, and goes on serving every number of the last time; its own gauge sql_exporter_last_scrape_failed stays 0.
# What it means for users: once the last budget, event or day with spend is gone, a dashboard shows the old ones as present, and an alert
# on them never ends. docs/monitoring/sql-exporter.yml has a row of NaN for that.
set -euo pipefail
dir=$(mktemp -d)
pids=()
finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
cd "$dir"
chmod 755 .
apt-get -qq download prometheus-sql-exporter=0.4.5-1+b5 postgresql-15=15.20-0+deb12u1 postgresql-client-15=15.20-0+deb12u1
for package in ./*.deb; do dpkg -x "$package" root; done
bin=$dir/root/usr/lib/postgresql/15/bin
mkdir server && chown nobody server
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups env LC_ALL=C "$@"; }
as_nobody "$bin/initdb" -D "$dir/server/data" -U watcher -A trust -N >/dev/null
as_nobody "$bin/postgres" -D "$dir/server/data" -k "$dir/server" -c listen_addresses= >server.log 2>&1 &
pids+=($!)
sql() { "$bin/psql" -h "$dir/server" -U watcher -d postgres -XqAt -c "$1"; }
for _ in $(seq 50); do sql 'SELECT 1' >/dev/null 2>&1 && break || sleep 0.2; done
sql "CREATE TABLE budget (provider text, used float8)"
sql "INSERT INTO budget VALUES ('one', 1), ('two', 2)"
cat >exporter.yml <<Y
jobs:
  - name: money
    interval: 1s
    connections: ['postgres://watcher@/postgres?host=$dir/server&sslmode=disable']
    queries:
      - name: budget
        help: what is used
        labels: [provider]
        values: [used]
        query: SELECT provider, used FROM budget
Y
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$dir/root/usr/bin/prometheus-sql-exporter" -config.file=exporter.yml -web.listen-address="127.0.0.1:$port" >exporter.log 2>&1 &
pids+=($!)
told() { curl --silent "http://127.0.0.1:$port/metrics" | grep -E '^sql_(budget|exporter_last_scrape_failed)\{' | sed -E 's/\{.*(provider="[a-z]+").*\}/ \1/; s/\{.*\}//'; }
sleep 4
echo 'two rows:'
told
sql "DELETE FROM budget WHERE provider = 'one'"
sleep 3
echo 'one row:'
told | tee one
sql "DELETE FROM budget"
sleep 5
echo 'no row:'
told | tee none
! grep -q '"one"' one
grep -q 'sql_budget provider="two" 2' none
grep -q 'sql_exporter_last_scrape_failed 0' none
grep -q 'zero rows returned' exporter.log
echo 'as described'
