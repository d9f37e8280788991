# Sourced by tests/bench/bench: the measurements. Each puts a figure into RESULT.
# shellcheck shell=bash

bench() { # pgbench, as the role bench; prints its report
    PGHOST=$SOCKET_DIR PGPORT=$PORT PGUSER=bench PGOPTIONS="${SEARCH_PATH:+-c search_path=$SEARCH_PATH}" \
        "$TREE/bin/pgbench" -n -M prepared "$@" bench 2>&1
}

tps_of() { sed -nE 's/^tps = ([0-9.]+) .*/\1/p'; }
transactions_of() { sed -nE 's/^number of transactions actually processed: ([0-9]+).*/\1/p'; }
count_of() { sql -d bench -At -c "SELECT count(*) FROM $1"; }

# A second of warming up (connections, plans, nginx), then the real thing. Every call must have enriched a contact
# that was empty before: the records that each leaves are counted.
measure() { # ours|schema.function clients milliseconds
    local what=$1 clients=$2 latency=$3 script=$CLUSTER/$1.pgbench records report before done
    if [ "$what" = ours ]; then
        SEARCH_PATH='' records=leadlex.enrichment
        echo 'SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))' >"$script"
    else
        SEARCH_PATH=${what%%.*},public records=${what%%.*}.ledger
        echo "SELECT ${what#*.}(id, '$(provider_url "$latency")') FROM turns WHERE n = (SELECT nextval('turn'))" >"$script"
    fi
    bench -c "$clients" -j 2 -T 1 -f "$script" >/dev/null
    sql -q -d bench -c CHECKPOINT
    before=$(count_of "$records")
    report=$(bench -c "$clients" -j 2 -T "$SECONDS_EACH" -f "$script") || die "pgbench: $report"
    done=$(transactions_of <<<"$report")
    [ "$(($(count_of "$records") - before))" = "$done" ] ||
        die "$what: $done calls left $(($(count_of "$records") - before)) records; $(grep -m 3 -iE 'error|abort' <<<"$report" || echo 'were the contacts used up?')"
    RESULT[$what:$clients:$latency]=$(tps_of <<<"$report")
    note "$(printf '%-34s %8.0f calls/s' "$what" "${RESULT[$what:$clients:$latency]}")"
}

# The least that a call can cost in the database: one row, durably committed.
measure_commit() { # clients
    local script=$CLUSTER/commit.pgbench report
    SEARCH_PATH=''
    echo "INSERT INTO bare VALUES (1)" >"$script"
    report=$(bench -c "$1" -j 2 -T "$SECONDS_EACH" -f "$script") || die "pgbench: $report"
    RESULT[commit:$1:0]=$(tps_of <<<"$report")
    RESULT[commit:$1:50]=${RESULT[commit:$1:0]}
    note "$(printf '%-34s %8.0f /s' 'bare commit' "${RESULT[commit:$1:0]}")"
}

# And the least on the wire: a request and its answer on connections that stay open.
measure_round_trip() { # clients milliseconds
    RESULT[trip:$1:$2]=$(/usr/bin/python3 "$HERE/round_trip.py" "$(provider_url "$2")" "$1" "$SECONDS_EACH")
    note "$(printf '%-34s %8.0f /s' 'bare keep-alive round trip' "${RESULT[trip:$1:$2]}")"
}

# Private memory of the backend (shared buffers that it has touched do not count), from the 2,000th call to the last.
measure_memory() {
    local script=$CLUSTER/ours.pgbench start calls pid first='' last=''
    sql -q -d bench -c "SELECT leadlex.alter_provider('fake', config => '{\"request\": {\"url\": \"$(provider_url 0)\"}}')" >/dev/null
    SEARCH_PATH=''
    start=$(sql -d bench -At -c 'SELECT last_value FROM turn')
    bench -c 1 -t "$MEMORY_CALLS" -f "$script" >"$CLUSTER/memory.log" &
    local job=$!
    while kill -0 "$job" 2>/dev/null; do
        read -r calls pid <<<"$(sql -d bench -At -F ' ' -c "SELECT last_value - $start, (SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench') FROM turn")"
        if [ -n "$pid" ] && [ "$calls" -ge 2000 ]; then
            calls=$(sed -nE 's/^RssAnon:\s+([0-9]+) kB/\1/p' "/proc/$pid/status" 2>/dev/null || true)
            first=${first:-$calls} last=${calls:-$last}
        fi
        sleep 0.3
    done
    wait "$job" || die "pgbench: $(tail -n 3 "$CLUSTER/memory.log")"
    [ -n "$first" ] || die "the backend's memory could not be read"
    RESULT[memory]=$(awk -v a="$first" -v b="$last" 'BEGIN { print (b - a) / 1024 }')
    RESULT[memory_total]=$(awk -v b="$last" 'BEGIN { print b / 1024 }')
}
