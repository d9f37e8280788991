# Sourced by tests/bench/bench: many contacts at once, and the queue.
# shellcheck shell=bash

MANY_CONTACTS=100000 MANY_ROUNDS=3 INSERT_ROUNDS=9 LOOP_CONTACTS=1000
[ -z "${QUICK:-}" ] || MANY_CONTACTS=20000 MANY_ROUNDS=2 LOOP_CONTACTS=100

many_sql() { sql -d many -At "$@"; }

as_bench() { # statements in one session of the role bench
    PGHOST=$SOCKET_DIR PGPORT=$PORT PGUSER=bench PGDATABASE=many "$TREE/bin/psql" -X -v ON_ERROR_STOP=1 -At "$@"
}

prepare_many() {
    sql -q -d postgres -c 'CREATE DATABASE many'
    sql -q -d many -v ON_ERROR_STOP=1 -v contacts="$MANY_CONTACTS" -v url="$(provider_url 0)" -f "$HERE/many.sql" >"$CLUSTER/many.log" 2>&1 ||
        die "the set-up failed: $(tail -n 3 "$CLUSTER/many.log")"
    many_sql -q -c 'ALTER SYSTEM SET leadlex.max_parallel_requests = 64' -c 'SELECT pg_reload_conf()' >/dev/null
}

# New contacts: empty again, with addresses that no receipt knows.
renew() { # table
    many_sql -q -c "UPDATE $1 SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL, email = gen_random_uuid() || '@acme.example'" \
        -c "VACUUM (FREEZE, ANALYZE) $1" -c CHECKPOINT
}

many_provider() { # milliseconds
    many_sql -q -c "SELECT leadlex.alter_provider('fake', config => '{\"request\": {\"url\": \"$(provider_url "$1")\"}}')" >/dev/null
}

# Seconds that a statement takes in a session of its own; it must answer with the number expected.
timed() { # expected statement
    local out=$CLUSTER/many.out answer
    as_bench -c '\timing on' -c "$2" >"$out" 2>&1 || die "$(tail -n 3 "$out")"
    answer=$(grep -m 1 -E '^[0-9]+$' "$out" || true)
    [ "$answer" = "$1" ] || die "$2: $answer enriched, not $1"
    sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' "$out" | tail -n 1 | awk '{ print $1 / 1000 }'
}

of_contact="SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts(ARRAY(SELECT id FROM contact WHERE n <= %d ORDER BY n))"
of_lead="SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_rows('lead', ARRAY(SELECT id::text FROM lead WHERE n <= %d ORDER BY n))"

best_of_rounds() { # result table count statement
    local round took
    for round in $(seq "$MANY_ROUNDS"); do
        renew "$2"
        # shellcheck disable=SC2059
        took=$(timed "$3" "$(printf "$4" "$3")")
        RESULT[$1]=$(least "${RESULT[$1]:-1e9}" "$took")
    done
}

measure_parallel() {
    local started
    many_provider 50
    best_of_rounds many:parallel contact 1000 "$of_contact"
    note "$(printf '%-50s %8.2f s' '1,000 contacts, 50 ms, 64 in parallel' "${RESULT[many:parallel]}")"
    renew contact
    RESULT[many:loop]=$(timed "$LOOP_CONTACTS" "SELECT count(enrich_contact(id)) FROM contact WHERE n <= $LOOP_CONTACTS")
    RESULT[many:loop]=$(awk -v t="${RESULT[many:loop]}" -v n="$LOOP_CONTACTS" 'BEGIN { print t * 1000 / n }')
    note "$(printf '%-50s %8.2f s' '  the same, one call after another' "${RESULT[many:loop]}")"
    renew contact
    started=$(date +%s.%N)
    net_style
    RESULT[many:net]=$(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')
    note "$(printf '%-50s %8.2f s' '  the same, by hand, queued as pg_net does' "${RESULT[many:net]}")"
}

# Rows are queued and committed, a worker takes 200 at a time, asks 64 at once and writes the answers; SQL fills them in.
net_style() {
    many_sql -q -c "INSERT INTO net_queue (contact, email) SELECT id, email FROM contact WHERE n <= 1000 ORDER BY n"
    while [ "$(many_sql -c 'SELECT count(*) FROM net_queue')" -gt 0 ]; do
        many_sql -q -c "COPY (SELECT contact, email FROM net_queue ORDER BY id LIMIT 200) TO STDOUT" |
            /usr/bin/python3 "$HERE/net_style.py" "$(provider_url 50)" 64 |
            many_sql -q -c 'COPY net_response FROM STDIN' \
                -c 'DELETE FROM net_queue WHERE id IN (SELECT id FROM net_queue ORDER BY id LIMIT 200)'
    done
    many_sql -q -c "UPDATE contact SET job_title = coalesce(nullif(job_title, ''), body #>> '{data,job_title}'),
        company_name = coalesce(nullif(company_name, ''), body #>> '{data,job_company_name}'),
        linkedin_url = coalesce(nullif(linkedin_url, ''), body #>> '{data,linkedin_url}'),
        phone = coalesce(nullif(phone, ''), body #>> '{data,mobile_phone}'),
        location = coalesce(nullif(location, ''), body #>> '{data,location_name}'),
        seniority = coalesce(nullif(seniority, ''), body #>> '{data,job_title_levels,0}')
        FROM net_response WHERE contact = id" -c 'TRUNCATE net_response'
    [ "$(many_sql -c 'SELECT count(phone) FROM contact')" = 1000 ] || die 'the hand-made queue filled in something else'
}

# Peak private memory of the backend, read while it works. VmHWM would have shared buffers in it.
measure_bulk() {
    local statement peak=0 now pid
    many_provider 0
    best_of_rounds many:bulk contact "$MANY_CONTACTS" "$of_contact"
    best_of_rounds many:rls lead "$MANY_CONTACTS" "$of_lead"
    renew contact
    # shellcheck disable=SC2059
    statement=$(printf "$of_contact" "$MANY_CONTACTS")
    PGAPPNAME=bulk as_bench -c "$statement" >/dev/null &
    local job=$!
    while kill -0 "$job" 2>/dev/null; do
        pid=$(many_sql -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'bulk'")
        now=$(sed -nE 's/^RssAnon:\s+([0-9]+) kB/\1/p' "/proc/${pid:-0}/status" 2>/dev/null || true)
        peak=$(awk -v a="$peak" -v b="${now:-0}" 'BEGIN { print (a > b ? a : b) }')
        sleep 0.2
    done
    wait "$job" || die 'the batch failed'
    RESULT[many:memory]=$(awk -v k="$peak" 'BEGIN { print k / 1024 }')
    note "$(printf '%-50s %8.0f rows/s, peak %.0f MB' "$MANY_CONTACTS contacts, 0 ms" "$(per "$MANY_CONTACTS" "${RESULT[many:bulk]}")" "${RESULT[many:memory]}")"
    note "$(printf '%-50s %8.0f rows/s' '  bigint key and row-level security' "$(per "$MANY_CONTACTS" "${RESULT[many:rls]}")")"
}

# The same INSERT without the trigger and with it, in turn: many times, being short. And how fast the queue drains, the
# provider answering at once.
measure_queue() {
    local round what took
    many_provider 0
    for round in $(seq "$INSERT_ROUNDS"); do
        for what in without with; do
            arrive "$what" "$round"
        done
    done
    [ "$(many_sql -c 'SELECT count(*) FROM leadlex.job')" = "$MANY_CONTACTS" ] || die 'the trigger queued something else'
    note "$(printf '%-50s %8.2f s, with the trigger %.2f s' "INSERT of $MANY_CONTACTS rows" "${RESULT[many:insert:without]}" "${RESULT[many:insert:with]}")"
    # As often as the batch that it is compared with.
    for round in $(seq "$MANY_ROUNDS"); do
        [ "$round" = 1 ] || arrive with "again-$round"
        took=$(drained)
        RESULT[many:drain:seconds]=$(least "${RESULT[many:drain:seconds]:-1e9}" "$took")
    done
    RESULT[many:drain]=$(per "$MANY_CONTACTS" "${RESULT[many:drain:seconds]}")
    note "$(printf '%-50s %8.0f rows/s' '  and the queue drains' "${RESULT[many:drain]}")"
}

arrive() { # without|with the-addresses'-mark
    many_sql -q -c 'SELECT leadlex.pause_queue()' -c 'DELETE FROM leadlex.job_set' -c 'DROP TRIGGER IF EXISTS enrich ON arriving' \
        -c 'TRUNCATE arriving' -c 'VACUUM (ANALYZE) leadlex.job_set' -c CHECKPOINT >/dev/null 2>&1
    [ "$1" = without ] || many_sql -q -c 'CREATE TRIGGER enrich AFTER INSERT ON arriving REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert()'
    as_bench -c '\timing on' -c "INSERT INTO arriving (id, n, full_name, email)
        SELECT g, g, 'P ' || g, 'q' || g || '-$2@acme.example' FROM generate_series(1, $MANY_CONTACTS) AS g" >"$CLUSTER/many.out" 2>&1 ||
        die "$(tail -n 3 "$CLUSTER/many.out")"
    local took
    took=$(sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' "$CLUSTER/many.out" | tail -n 1 | awk '{ print $1 / 1000 }')
    RESULT[many:insert:$1]=$(least "${RESULT[many:insert:$1]:-1e9}" "$took")
}

# Seconds until all that is queued is done.
drained() {
    local started
    many_sql -q -c 'SELECT leadlex.resume_queue()' >/dev/null
    started=$(date +%s.%N)
    while [ "$(many_sql -c "SELECT count(*) FROM leadlex.job_set WHERE state <> 'done'")" -gt 0 ]; do sleep 0.2; done
    [ "$(many_sql -c 'SELECT count(phone) FROM arriving')" = "$MANY_CONTACTS" ] || die 'the queue left contacts out'
    awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { print b - a }'
}

measure_many() {
    prepare_many
    measure_queue
    measure_parallel
    measure_bulk
}
