# Sourced after common.sh: sample providers in the background.
# shellcheck shell=bash

build_provider() {
    say "building the sample provider"
    (cd "$ROOT" && cargo build --quiet --example sample_provider "${PG_FEATURES[@]}" </dev/null) || die "the sample provider does not build"
}

# Leaves DIR/NAME.pid, DIR/NAME.port and DIR/NAME.log, and sets PROVIDER_URL. It outlives this script.
provider_start() { # dir name [option…]
    local dir=$1 name=$2
    shift 2
    provider_stop "$dir" "$name"
    rm -f "$dir/$name.port"
    setsid "$TARGET/debug/examples/sample_provider" --people "$ROOT/tests/sample_provider/people.json" \
        --port-file "$dir/$name.port" "$@" </dev/null >"$dir/$name.log" 2>&1 9>&- &
    echo $! >"$dir/$name.pid"
    disown
    for _ in $(seq 200); do
        [ ! -s "$dir/$name.port" ] || break
        sleep 0.05
    done
    [ -s "$dir/$name.port" ] || die "the sample provider did not start: $(cat "$dir/$name.log")"
    PROVIDER_URL=http://127.0.0.1:$(cat "$dir/$name.port")/v5/person/enrich
}

# Only what was started here: a process of that number may by now be another's.
provider_stop() { # dir name
    local file=$1/$2.pid pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sample_provider ] &&
        tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF "$1/$2.port"; then
        kill "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}
