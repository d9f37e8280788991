# Sourced by tests/bench/bench: the measurements. Each puts a figure into RESULT.
# shellcheck shell=bash

bench() { # pgbench, as the role bench or another; prints its report
    PGHOST=$SOCKET_DIR PGPORT=$PORT PGUSER=${BENCH_ROLE:-bench} PGOPTIONS="${SEARCH_PATH:+-c search_path=$SEARCH_PATH}" \
        "$TREE/bin/pgbench" -n -M prepared "$@" "${BENCH_DATABASE:-bench}" 2>&1
}

count_of() { sql -d bench -At -c "SELECT count(*) FROM $1"; }

# Runs a script and prints "transactions per-second". The clock starts when every client has finished its first
# transaction: what a new session has to load (a Python interpreter takes a second) is nobody's throughput.
run() { # clients duration script; the duration is "-T seconds" or "-t calls"
    local log=$CLUSTER/pgbench-log duration
    rm -f "$log".*
    read -ra duration <<<"$2"
    bench -c "$1" -j "$(($1 < 2 ? 1 : 2))" "${duration[@]}" -l --log-prefix="$log" -f "$3" >"$CLUSTER/pgbench.out" ||
        die "pgbench: $(grep -m 3 -iE 'error|abort' "$CLUSTER/pgbench.out")"
    # A line is: client, transaction, duration, script, epoch seconds, microseconds.
    cat "$log".* | awk -v clients="$1" '
        { at[NR] = $5 + $6 / 1e6; if (at[NR] > end) end = at[NR]
          if (!($1 in seen)) { seen[$1]; warm++; if (at[NR] > start) start = at[NR] } }
        END { for (i = 1; i <= NR; i++) if (at[i] > start) n++
              print NR, (warm == clients && end > start) ? n / (end - start) : 0 }'
}

# Sessions of Python take about a second of processor time each to start.
patience() { # what clients
    if [ "$1" = urllib3 ] && [ "$2" -gt 1 ]; then echo "$WARM_UP_SECONDS"; else echo 1; fi
}

# Every call must have enriched a contact that was empty before: the records that each leaves are counted.
measure() { # ours|schema.function clients milliseconds
    local what=$1 clients=$2 latency=$3 script=$CLUSTER/$1.pgbench records before done rate left
    if [ "$what" = ours ]; then
        SEARCH_PATH='' records=leadlex.enrichment
        echo 'SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))' >"$script"
    else
        SEARCH_PATH=${what%%.*},public records=${what%%.*}.ledger
        echo "SELECT ${what#*.}(id, '$(provider_url "$latency")') FROM turns WHERE n = (SELECT nextval('turn'))" >"$script"
    fi
    sql -q -d bench -c CHECKPOINT
    before=$(count_of "$records")
    read -r done rate <<<"$(run "$clients" "-T $((SECONDS_EACH + $(patience "${what%%.*}" "$clients")))" "$script")"
    left=$(($(count_of "$records") - before))
    [ "$left" = "$done" ] || die "$what: $done calls left $left records: were the contacts used up?"
    RESULT[$what:$clients:$latency]=$rate
    note "$(printf '%-34s %8.0f calls/s' "$what" "$rate")"
}

# The least that a call can cost in the database: one row, durably committed.
measure_commit() { # clients
    local script=$CLUSTER/commit.pgbench done rate
    SEARCH_PATH=''
    echo "INSERT INTO bare VALUES (1)" >"$script"
    read -r done rate <<<"$(run "$1" "-T $((SECONDS_EACH / 2))" "$script")"
    RESULT[commit:$1:0]=$rate
    RESULT[commit:$1:50]=$rate
    note "$(printf '%-34s %8.0f /s' 'bare commit' "$rate")"
}

# And the least on the wire: a request and its answer on connections that stay open.
measure_round_trip() { # clients milliseconds
    RESULT[trip:$1:$2]=$(/usr/bin/python3 "$HERE/round_trip.py" "$(provider_url "$2")" "$1" $((SECONDS_EACH / 2)))
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
