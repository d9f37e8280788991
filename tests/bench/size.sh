# Sourced by tests/bench/bench: what a call costs in a large database beside a small one.
# shellcheck shell=bash

SMALL_CONTACTS=1000 LARGE_CONTACTS=2000000 LARGE_LEDGER=1000000 SIZE_ROUNDS=5 SIZE_CALLS=900
[ -z "${QUICK:-}" ] || LARGE_CONTACTS=200000 LARGE_LEDGER=100000

prepare_size() { # database contacts ledger-rows
    sql -q -d postgres -c "CREATE DATABASE $1 OWNER bench"
    sql -q -d "$1" -v ON_ERROR_STOP=1 -v contacts="$2" -v ledger_rows="$3" -v url="$(provider_url 0)" -f "$HERE/size.sql" >"$CLUSTER/$1.log" 2>&1 ||
        die "the set-up failed: $(tail -n 3 "$CLUSTER/$1.log")"
}

# Milliseconds a call, of one client. The small table's contacts are emptied between the passes, and given other
# addresses: else receipts would answer, and nobody be asked.
measure_pass() { # database
    local script=$CLUSTER/$1.pgbench done rate before
    echo 'SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))' >"$script"
    if [ "$1" = small ]; then
        sql -q -d small -c "UPDATE contact SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL, email = gen_random_uuid() || '@acme.example'" \
            -c 'ALTER SEQUENCE turn RESTART' -c 'VACUUM contact'
    fi
    before=$(sql -d "$1" -At -c 'SELECT count(*) FROM leadlex.enrichment')
    read -r done rate <<<"$(BENCH_DATABASE=$1 run 1 "-t $SIZE_CALLS" "$script")"
    [ $(($(sql -d "$1" -At -c 'SELECT count(*) FROM leadlex.enrichment') - before)) = "$done" ] || die "$1: a call did not enrich"
    awk -v rate="$rate" 'BEGIN { print 1000 / rate }'
}

# In turn, so that what else runs on the machine meets both; the least of each, as it only ever adds.
measure_rounds() { # name database: small and that one
    local round database cost what
    for round in $(seq "$SIZE_ROUNDS"); do
        for database in small "$2"; do
            if [ "$database" = small ]; then what=size:small:$1; else what=size:$1; fi
            cost=$(measure_pass "$database")
            RESULT[$what]=$(least "${RESULT[$what]:-1e9}" "$cost")
        done
    done
    note "$(printf '%-34s %8.3f ms a call, small %.3f ms' "$1" "${RESULT[size:$1]}" "${RESULT[size:small:$1]}")"
}

least() { awk -v a="$1" -v b="$2" 'BEGIN { print (b < a ? b : a) }'; }

measure_size() {
    SEARCH_PATH=''
    prepare_size small "$SMALL_CONTACTS" 0
    prepare_size large "$LARGE_CONTACTS" "$LARGE_LEDGER"
    sql -q -d postgres -c CHECKPOINT
    measure_rounds large large
    hold_snapshot
    # What the worker settles from here on stays behind as dead rows.
    BENCH_DATABASE=large bench -c 8 -j 1 -t 1500 -f "$CLUSTER/large.pgbench" >"$CLUSTER/pgbench.out"
    measure_rounds large-snapshot large
    sql -d postgres -Atq -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'old snapshot'" >/dev/null
}

# A session that reads under one snapshot for the rest of the measurement.
hold_snapshot() {
    PGAPPNAME='old snapshot' sql -d large -q -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' -c 'SELECT count(*) FROM leadlex.credit_pending' \
        -c 'SELECT pg_sleep(3600)' >/dev/null 2>&1 9>&- &
    until [ "$(sql -d postgres -At -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'old snapshot' AND query LIKE '%pg_sleep%' AND backend_xmin IS NOT NULL")" = 1 ]; do sleep 0.1; done
}
