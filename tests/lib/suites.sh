# Sourced by tests/run: one function per suite. Each adds to PASSED and FAILED and says what failed.
# shellcheck shell=bash

PASSED=0
FAILED=0
SUMMARY=()

record() { # suite passed failed
    PASSED=$((PASSED + $2))
    FAILED=$((FAILED + $3))
    SUMMARY+=("$(printf '%-10s %4d passed, %d failed' "$1" "$2" "$3")")
}

# A suite that could not run, or that found nothing to run, has failed.
could_not_run() { # suite why
    printf 'FAILED: suite %s could not run: %s\n' "$1" "$2"
    record "$1" 0 1
}

suite_format() { check_with format "$ROOT/tests/lib/check.sh" fmt; }
suite_clippy() { check_with clippy "$ROOT/tests/lib/check.sh" clippy; }

check_with() { # suite command…
    local suite=$1
    shift
    say "suite $suite"
    if "$@"; then record "$suite" 1 0; else
        echo "FAILED: $suite"
        record "$suite" 0 1
    fi
}

# A test that hangs must not hold up the verdict for ever.
SUITE_TIMEOUT=20m

# timeout(1) has a process group of its own, which Ctrl-C does not reach.
end_running_suite() {
    local pid
    pid=$(cat "$TARGET/log/suite.pid" 2>/dev/null) || return 0
    rm -f "$TARGET/log/suite.pid"
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != timeout ] || kill "$pid"
}

# libtest says one "test result:" line per binary.
cargo_test() { # suite argument…
    local suite=$1 log=$TARGET/log/$1.log status=0
    shift
    say "suite $suite"
    (
        cd "$ROOT"
        timeout "$SUITE_TIMEOUT" cargo test "${PG_FEATURES[@]}" "$@" </dev/null 2>&1 &
        echo $! >"$TARGET/log/suite.pid"
        wait $!
    ) | tee "$log" || status=$?
    rm -f "$TARGET/log/suite.pid"
    local counts passed failed
    counts=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; .*/\1 \2/p' "$log" |
        awk '{ p += $1; f += $2 } END { if (NR) print p, f }')
    read -r passed failed <<<"$counts" || true
    if [ -z "$counts" ] || { [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; }; then
        could_not_run "$suite" "cargo test ended with status $status, see $log"
    elif [ $((passed + failed)) -eq 0 ]; then
        could_not_run "$suite" "it has no tests"
    else
        record "$suite" "$passed" "$failed"
    fi
}

suite_unit() { cargo_test unit --workspace --lib; }
# They wait more than they compute.
suite_cluster() { cargo_test cluster --test cluster -- --test-threads=3; }

# One server for both regression suites. Scripts find their providers in settings of the server:
# current_setting('test.provider_url'), and one that takes a second in test.slow_provider_url.
start_regress_server() {
    [ -z "${REGRESS_READY:-}" ] || return 0
    build_provider
    local dir=$RUN_DIR/regress url slow_url
    cluster_stop_at "$dir"
    # The provider of these scripts has one person for everybody, as a sandbox has.
    cluster_create regress "$RUN_BASE/pg-$MAJOR" 'fsync = off' 'leadlex.max_people_per_value = -1'
    provider_start "$CLUSTER" provider
    url=$PROVIDER_URL
    provider_start "$CLUSTER" slow_provider --delay-ms 1000
    slow_url=$PROVIDER_URL
    printf "test.provider_url = '%s'\ntest.slow_provider_url = '%s'\n" "$url" "$slow_url" >>"$CLUSTER/data/postgresql.conf"
    cluster_start
    REGRESS_READY=yes
}

# Every script gets a fresh database of its own, so that none depends on another, nor on their order.
regress_suite() { # suite program folder extension-of-scripts
    local suite=$1 program=$2 folder=$ROOT/tests/$3 passed=0 failed=0 script name
    say "suite $suite"
    [ -x "$program" ] || { could_not_run "$suite" "$program is missing (package postgresql-server-dev-$MAJOR)"; return 0; }
    local scripts=("$folder"/*/*."$4")
    [ -e "${scripts[0]}" ] || { could_not_run "$suite" "it has no tests"; return 0; }
    start_regress_server
    local out=$RUN_DIR/regress/$suite
    for script in "${scripts[@]}"; do
        name=$(basename "$script" ".$4")
        rm -rf "$out/$name"
        mkdir -p "$out/$name"
        if (cd "$out/$name" && PGHOST=$SOCKET_DIR "$program" --inputdir="$folder" --outputdir="$out/$name" --bindir="$TREE/bin" \
            --host="$SOCKET_DIR" --port="$PORT" --user=postgres --dbname="${suite}_${name//-/_}" --max-connections=1 \
            "$name" </dev/null >run.log 2>&1); then
            echo "ok      $suite/$name"
            passed=$((passed + 1))
        else
            echo "FAILED  $suite/$name"
            cat "$out/$name/regression.diffs" 2>/dev/null || tail -n 20 "$out/$name/run.log"
            failed=$((failed + 1))
        fi
    done
    record "$suite" "$passed" "$failed"
}

suite_regress() { regress_suite regress "$PGXS_TEST/regress/pg_regress" pg_regress sql; }
# A session that waits longer than this waits for ever: better red soon.
suite_isolation() { PGISOLATIONTIMEOUT=60 regress_suite isolation "$PGXS_TEST/isolation/pg_isolation_regress" isolation spec; }
