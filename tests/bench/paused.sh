# Sourced by tests/bench/bench: what a provider costs that is down, once its circuit breaker is open.
# shellcheck shell=bash

# The same calls in turn without that provider and with it in front, so that whatever else the machine does hits both.
measure_paused() {
    local script=$CLUSTER/ours.pgbench round what done rate port
    port=$(free_port)
    sql -q -d bench -c "SELECT leadlex.alter_provider('fake', config => '{\"request\": {\"url\": \"$(provider_url 0)\"}}')" \
        -c "SELECT leadlex.add_provider('down', config => jsonb_set(config, '{request,url}', '\"http://127.0.0.1:$port/person\"'), secret => 'x', priority => 1)
            FROM leadlex.provider WHERE name = 'fake'" >/dev/null
    SEARCH_PATH=''
    echo 'SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))' >"$script"
    local -A sum=([without]=0 [with]=0)
    for round in 1 2 3; do
        for what in without with; do
            sql -q -d bench -c "SELECT leadlex.enable_provider('down', $([ "$what" = with ] && echo true || echo false))" >/dev/null
            # Opens the breaker: these find out.
            [ "$what" = without ] || bench -c 1 -t 20 -f "$script" >/dev/null
            read -r done rate <<<"$(run 1 "-T $SECONDS_EACH" "$script")"
            [ "$done" -gt 0 ] || die "no calls with $what"
            sum[$what]=$(awk -v a="${sum[$what]}" -v b="$rate" 'BEGIN { print a + b }')
        done
    done
    [ "$(sql -d bench -At -c "SELECT skipped > 100 FROM leadlex.provider_stats WHERE name = 'down'")" = t ] || die "the breaker did not open"
    sql -q -d bench -c "SELECT leadlex.drop_provider('down')" >/dev/null
    RESULT[paused:without]=${sum[without]} RESULT[paused:with]=${sum[with]}
    note "$(printf 'without it %.0f calls/s, with it in front %.0f' "$(per "${sum[without]}" 3)" "$(per "${sum[with]}" 3)")"
}
