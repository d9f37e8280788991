# Sourced by tests/bench/bench: make bench BASE=<commit>. Builds that commit and runs it beside this tree, in turn, in one
# run: processor time of a call and of a contact in a set, time and memory of a session's first call.
# shellcheck shell=bash

COMPARE_ROUNDS=5 COMPARE_CALLS=5000 COMPARE_SET=10000 COMPARE_SESSIONS=11
[ -z "${QUICK:-}" ] || COMPARE_ROUNDS=3 COMPARE_CALLS=1000 COMPARE_SET=2000 COMPARE_SESSIONS=5
SIDES=(base here)
declare -A SIDE_CLUSTER=() SIDE_PORT=() SIDE_SOCKET=() SIDE_TREE=() SAMPLES=()

build_base() { # commit: sets BASE_TREE
    local commit clone
    commit=$(git -C "$ROOT" rev-parse --verify --quiet "$1^{commit}") || die "BASE=$1: no such commit in this clone"
    clone=$TARGET/base/$commit
    if [ ! -e "$clone/.git" ]; then
        rm -rf "$clone"
        git clone -q --shared --no-checkout "$ROOT" "$clone"
        git -C "$clone" checkout -q --detach "$commit"
    fi
    mkdir -p "$clone/target"
    [ ! -d "$TARGET/tools" ] || [ -e "$clone/target/tools" ] || ln -s "$TARGET/tools" "$clone/target/tools"
    say "building ${commit:0:7}, to compare with"
    (cd "$clone" && tests/lib/build.sh release)
    BASE_TREE=$(readlink -f "$clone/target/pg-$MAJOR-release")
}

start_side() { # base|here tree
    cluster_create "compare-$1" "$2" 'shared_buffers = 512MB' 'max_wal_size = 8GB' 'checkpoint_timeout = 30min'
    cluster_start
    SIDE_CLUSTER[$1]=$CLUSTER SIDE_PORT[$1]=$PORT SIDE_SOCKET[$1]=$SOCKET_DIR SIDE_TREE[$1]=$TREE
}

use_side() { CLUSTER=${SIDE_CLUSTER[$1]} PORT=${SIDE_PORT[$1]} SOCKET_DIR=${SIDE_SOCKET[$1]} TREE=${SIDE_TREE[$1]}; }

stop_sides() {
    local side
    for side in "${!SIDE_CLUSTER[@]}"; do
        use_side "$side"
        stop_provider
        cluster_stop_at "$CLUSTER"
    done
}

prepare_side() {
    sql -q -d postgres -c 'CREATE ROLE bench LOGIN' -c 'GRANT pg_read_server_files TO bench' -c 'CREATE DATABASE bench OWNER bench'
    sql -q -d bench -v ON_ERROR_STOP=1 -v contacts="$((COMPARE_ROUNDS * (COMPARE_CALLS + COMPARE_SET + COMPARE_SESSIONS + 2)))" \
        -v url="$(provider_url 0)" -f "$HERE/setup.sql" >"$CLUSTER/setup.log" 2>&1 || die "the set-up failed: $(tail -n 3 "$CLUSTER/setup.log")"
    sql -q -d bench -c CHECKPOINT -c 'GRANT EXECUTE ON FUNCTION pg_read_file(text) TO bench'
}

as_bench_here() { PGUSER=bench sql -d bench -v ON_ERROR_STOP=1 -Atq "$@"; }

# Ticks of 10 ms, of all threads of a process: fields 14 and 15 of its stat, whose second field may have blanks.
ticks() { # pid, as an expression of SQL
    echo "(SELECT f[12]::int + f[13]::int FROM (SELECT string_to_array(regexp_replace(pg_read_file('/proc/' || $1 || '/stat'), '^.*[)] ', ''), ' ')) AS s (f))"
}

of_turn='SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))'

# Microseconds of processor time of the session for each call, in a transaction of its own.
compare_calls() {
    as_bench_here -f - <<SQL
PREPARE call AS $of_turn;
\o /dev/null
EXECUTE call;
SELECT $(ticks "'self'") AS before \gset
SELECT 'EXECUTE call' FROM generate_series(1, $COMPARE_CALLS) \gexec
\o
SELECT ($(ticks "'self'") - :before) * 10000.0 / $COMPARE_CALLS;
SQL
}

# Microseconds of the session for each contact of a set.
compare_set() {
    as_bench_here -f - <<SQL
SELECT $(ticks "'self'") AS before, nextval('turn') AS first \gset
SELECT setval('turn', :first + $COMPARE_SET) \g /dev/null
SELECT count(*) FILTER (WHERE status = 'enriched') = $COMPARE_SET AS whole
    FROM enrich_contacts(ARRAY(SELECT id FROM turns WHERE n > :first AND n <= :first + $COMPARE_SET)) \gset
\if :whole
SELECT ($(ticks "'self'") - :before) * 10000.0 / $COMPARE_SET;
\endif
SQL
}

# Milliseconds of a session's first call, and the kB of private memory that it then has.
compare_first() {
    as_bench_here -F ' ' -f - <<SQL
SELECT clock_timestamp() AS before \gset
$of_turn \g /dev/null
SELECT extract(epoch FROM clock_timestamp() - :'before') * 1000, substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)');
SQL
}

keep() { # side what value
    [ -n "$3" ] || die "$2 of $1: no figure"
    SAMPLES[$1:$2]+="$3 "
}

compare_side() { # side
    local first memory
    use_side "$1"
    keep "$1" call "$(compare_calls)"
    keep "$1" set "$(compare_set)"
    for _ in $(seq "$COMPARE_SESSIONS"); do
        read -r first memory <<<"$(compare_first)"
        keep "$1" first "$first"
        keep "$1" memory "$memory"
    done
    # The worker's part is not measured, and must not disturb the other side.
    sleep 3
}

median() { tr ' ' '\n' <<<"$1" | grep . | sort -g | awk '{ a[NR] = $1 } END { print (NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2) }'; }

compared() { # title what unit [allowed-difference]
    local base here met=''
    base=$(median "${SAMPLES[base:$2]}") here=$(median "${SAMPLES[here:$2]}")
    [ -z "${4:-}" ] || met=$(awk -v a="$base" -v b="$here" -v most="$4" 'BEGIN { printf "at most %+g  %s", most, (b - a <= most ? "ok" : "MISS") }')
    awk -v title="$1" -v a="$base" -v b="$here" -v unit="$3" -v met="$met" \
        'BEGIN { printf "%-44s %10.2f %10.2f %-5s %+9.2f %6.2fx  %s\n", title, a, b, unit, b - a, (a > 0 ? b / a : 0), met }'
}

compare() { # commit
    local round side
    build_base "$1"
    warn_when_busy
    start_side base "$BASE_TREE"
    start_provider
    prepare_side
    start_side here "$RUN_BASE/pg-$MAJOR-release"
    prepare_side
    for round in $(seq "$COMPARE_ROUNDS"); do
        say "round $round of $COMPARE_ROUNDS"
        for side in "${SIDES[@]}"; do compare_side "$side"; done
    done
    echo
    echo "${BOLD}${1} and this tree${PLAIN}: medians of $COMPARE_ROUNDS rounds in turn, PostgreSQL $MAJOR"
    printf '%-44s %10s %10s\n' '' "${1:0:10}" 'this tree'
    compared 'a call, processor time of the session' call µs 10
    compared "a contact of a set of $COMPARE_SET, session" set µs 10
    compared "a session's first call" first ms 1
    compared '  private memory after it' memory kB 512
}
