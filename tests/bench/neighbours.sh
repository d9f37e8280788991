# Sourced by tests/bench/bench: whether a workspace's calls are slowed by another one's that are refused.
# shellcheck shell=bash

NEIGHBOURS=8 ROUNDS=2

calls_of() { # role
    echo "SELECT try_enrich_row('$1.contact'::regclass, nextval('$1.turn')::text)"
}

# Calls per second of 4 clients of the workspace "busy", whose provider takes 50 ms.
measure_busy() {
    local script=$CLUSTER/busy.pgbench before done rate
    calls_of busy >"$script"
    before=$(count_of leadlex.enrichment)
    read -r done rate <<<"$(BENCH_ROLE=busy run 4 "-T $SECONDS_EACH" "$script")"
    [ $(($(count_of leadlex.enrichment) - before)) = "$done" ] || die "busy: a call did not enrich"
    echo "$rate"
}

# The same beside clients of another workspace that call again as soon as they are refused.
measure_beside() { # role code
    local script=$CLUSTER/$1.pgbench hammer code rate
    calls_of "$1" >"$script"
    BENCH_ROLE=$1 bench -c "$NEIGHBOURS" -j 1 -T $((SECONDS_EACH + 2)) -f "$script" >"$CLUSTER/$1.out" &
    hammer=$!
    sleep 1
    code=$(PGUSER=$1 sql -d bench -At -c "SELECT ($(calls_of "$1")) #>> '{error,code}'")
    [ "$code" = "$2" ] || die "$1: expected to be refused with $2, not with '$code'"
    rate=$(measure_busy)
    kill -0 "$hammer" 2>/dev/null || die "$1: its clients were done too early"
    wait "$hammer" || die "pgbench: $(grep -m 3 -iE 'error|abort' "$CLUSTER/$1.out")"
    echo "$rate"
}

# Alone, beside the one, beside the other, again and again; the best of each, as what else runs only ever slows.
measure_neighbours() {
    local round role rate
    SEARCH_PATH=''
    sql -q -d bench -v ON_ERROR_STOP=1 -v slow_url="$(provider_url 50)" -f "$HERE/neighbours.sql" >"$CLUSTER/neighbours.log" 2>&1 ||
        die "the set-up failed: $(tail -n 3 "$CLUSTER/neighbours.log")"
    # Uses up what the limited one has for the minute.
    calls_of limited >"$CLUSTER/limited.pgbench"
    BENCH_ROLE=limited bench -c 1 -t 12 -f "$CLUSTER/limited.pgbench" >"$CLUSTER/limited.out"
    for round in $(seq "$ROUNDS"); do
        for role in alone broke limited; do
            case $role in
            alone) rate=$(measure_busy) ;;
            broke) rate=$(measure_beside broke insufficient_credits) ;;
            limited) rate=$(measure_beside limited rate_limited) ;;
            esac
            RESULT[busy:$role]=$(best "${RESULT[busy:$role]:-0}" "$rate")
            note "$(printf '%-34s %8.1f calls/s' "busy, $role ($round)" "$rate")"
        done
    done
}

best() { awk -v a="$1" -v b="$2" 'BEGIN { print (b > a ? b : a) }'; }
