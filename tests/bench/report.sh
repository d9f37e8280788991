# Sourced by tests/bench/bench: the table at the end.
# shellcheck shell=bash

figure() { # what: one line with a figure per cell
    local cell line
    line=$(printf '%-34s' "$1")
    for cell in "${CELLS[@]}"; do
        line+=$(LC_ALL=C printf '%14.0f' "${RESULT[$2:$cell]:-0}")
    done
    printf '%s\n' "$line"
}

# a divided by b, per cell
ratio() { # title a b
    local cell line
    line=$(printf '%-34s' "$1")
    for cell in "${CELLS[@]}"; do
        line+=$(awk -v a="${RESULT[$2:$cell]}" -v b="${RESULT[$3:$cell]}" 'BEGIN { printf "%13.2fx", (b > 0 ? a / b : 0) }')
    done
    printf '%s\n' "$line"
}

# A call needs one round trip and one commit, one after the other. With many clients they overlap, and the scarcer counts.
put_limits() {
    local cell clients
    for cell in "${CELLS[@]}"; do
        clients=${cell%:*}
        RESULT[limit:$cell]=$(awk -v n="$clients" -v c="${RESULT[commit:$cell]}" -v t="${RESULT[trip:$cell]}" \
            'BEGIN { print n == 1 ? 1 / (1 / c + 1 / t) : (c < t ? c : t) }')
    done
}

# The best hand-written function of this run.
best_rival() { # cell
    local rival how best=0
    for rival in "${RIVALS[@]}"; do
        for how in first last; do best=$(best "$best" "${RESULT[$rival.enrich_lock_$how:$1]:-0}"); done
    done
    echo "$best"
}

per() { awk -v a="$1" -v b="$2" 'BEGIN { print (b > 0 ? a / b : 0) }'; }

verdict() { # title measured unit comparison target
    local met
    met=$(awk -v a="$2" -v b="$5" -v how="$4" 'BEGIN { print (how == "least" ? a >= b : a < b) ? "ok" : "MISS" }')
    printf '%-44s %10.2f %-8s %-12s %8.2f   %s\n' "$1" "$2" "$3" "$([ "$4" = least ] && echo 'at least' || echo 'less than')" "$5" "$met"
}

report_many() {
    echo
    echo "${BOLD}many contacts at once${PLAIN}"
    verdict '1,000 contacts, 50 ms, 64 in parallel : 0.78 s' "$(per "${RESULT[many:parallel]}" 0.78125)" times below 1.2
    note "$(printf '(%.2f s; one call after another %.1f s, queued by hand as pg_net does %.2f s)' "${RESULT[many:parallel]}" "${RESULT[many:loop]}" "${RESULT[many:net]}")"
    note "$(printf '(%d contacts, 0 ms: %.0f rows/s; peak private memory of the backend %.0f MB)' "$MANY_CONTACTS" "$(per "$MANY_CONTACTS" "${RESULT[many:bulk]}")" "${RESULT[many:memory]}")"
    verdict "INSERT of $MANY_CONTACTS with the enqueue trigger : without" "$(per "${RESULT[many:insert:with]}" "${RESULT[many:insert:without]}")" times below 1.3
    verdict 'the queue drains : rows/s of a batch' "$(per "${RESULT[many:drain]}" "$(per "$MANY_CONTACTS" "${RESULT[many:bulk]}")")" times least 0.85
    verdict 'bigint key and RLS : uuid key without' "$(per "${RESULT[many:rls]}" "${RESULT[many:bulk]}")" times below 1.15
}

report() {
    local rival cell title
    put_limits
    echo
    echo "${BOLD}calls per second${PLAIN} on $(nproc) cores, PostgreSQL $MAJOR, durable commits"
    title=$(printf '%-34s' 'clients, provider latency')
    for cell in "${CELLS[@]}"; do title+=$(printf '%14s' "${cell%:*}, ${cell#*:} ms"); done
    printf '%s\n' "$title"
    figure 'enrich_contact' ours
    for rival in "${RIVALS[@]}"; do
        figure "by hand, $rival, lock first" "$rival.enrich_lock_first"
        figure "by hand, $rival, lock last" "$rival.enrich_lock_last"
    done
    figure 'bare commit of one row' commit
    figure 'bare keep-alive round trip' trip
    figure 'limit: a round trip and a commit' limit
    echo
    echo "${BOLD}enrich_contact as a multiple of${PLAIN}"
    for rival in "${RIVALS[@]}"; do
        ratio "by hand, $rival, lock first" ours "$rival.enrich_lock_first"
        ratio "by hand, $rival, lock last" ours "$rival.enrich_lock_last"
    done
    ratio 'the limit' ours limit
    echo
    echo "${BOLD}targets${PLAIN}"
    verdict '1 client, 0 ms' "${RESULT[ours:1:0]}" calls/s least 1000
    verdict '  as a multiple of pgsql-http'"'"'s 250/s (GUIDE)' "$(awk -v a="${RESULT[ours:1:0]}" 'BEGIN { print a / 250 }')" times least 4
    verdict '32 clients, 50 ms (ceiling 640/s)' "${RESULT[ours:32:50]}" calls/s least 608
    verdict '32 clients, 0 ms, against the best by hand' "$(per "${RESULT[ours:32:0]}" "$(best_rival 32:0)")" times least 5
    verdict 'first provider down, breaker open : without it' "$(per "${RESULT[paused:without]}" "${RESULT[paused:with]}")" times below 1.1
    verdict 'alone : beside a workspace without credit' "$(per "${RESULT[busy:alone]}" "${RESULT[busy:broke]}")" times below 1.1
    verdict 'alone : beside one over its rate limit' "$(per "${RESULT[busy:alone]}" "${RESULT[busy:limited]}")" times below 1.1
    verdict "$LARGE_CONTACTS contacts, $LARGE_LEDGER ledger rows" "$(per "${RESULT[size:large]}" "${RESULT[size:small:large]}")" times below 1.15
    verdict '  the same beside an old snapshot' "$(per "${RESULT[size:large-snapshot]}" "${RESULT[size:small:large-snapshot]}")" times below 1.15
    verdict "growth of one backend, $MEMORY_CALLS calls" "${RESULT[memory]}" MB below 2
    report_many
    note "(a bare round trip of 50 ms reached $(printf '%.0f' "${RESULT[trip:32:50]}")/s at 32 clients: enrich_contact has $(awk -v a="${RESULT[ours:32:50]}" -v b="${RESULT[trip:32:50]}" 'BEGIN { printf "%.0f", 100 * a / b }') % of that)"
    note "(the backend's private memory is $(printf '%.1f' "${RESULT[memory_total]}") MB)"
    case " ${RIVALS[*]} " in *pgsql_http*) ;; *) note "pgsql-http is not installed here, so it was not measured." ;; esac
}
