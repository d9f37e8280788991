# Sourced by prerequisites.sh, xtask and tests/matrix: where things are, how to speak, which Postgres and which Rust to use.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
TARGET=$ROOT/target
CARGO_PGRX_VERSION=0.19.3
RUST_NEEDED=1.96

# The callers' own settings of these would change what is built or which server is spoken to.
unset CARGO_TARGET_DIR RUST_BACKTRACE PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGDATA PGPASSFILE
export CARGO_TERM_PROGRESS_WHEN=never
# CI builds once: what would make the next build faster costs it a tenth of the compiler's time.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
umask 022

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' DIM='' PLAIN=''; fi

say()  { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*"; }
note() { printf '    %s%s%s\n' "$DIM" "$*" "$PLAIN"; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a long command with its output in a log; shows a heartbeat, and the end of the log when it fails.
quietly() { # title log command…
    local title=$1 log=$2 started=$SECONDS status=0
    shift 2
    mkdir -p "$(dirname "$log")"
    say "$title"
    "$@" >"$log" 2>&1 </dev/null &
    local pid=$! beat=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        beat=$((beat + 1))
        [ $((beat % 100)) -ne 0 ] || note "$((SECONDS - started)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-90)"
    done
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log" >&2
        die "failed: $title (whole log: $log)"
    fi
}

# --- Postgres ---------------------------------------------------------------------------------------------

# A pg_config that belongs to a server installation, by its own path (Debian's /usr/bin/pg_config is a wrapper).
real_pg_config() {
    local given=$1 bindir
    bindir=$("$given" --bindir) || return 1
    if [ -x "$bindir/pg_config" ]; then printf '%s\n' "$bindir/pg_config"; else command -v "$given"; fi
}

# "PostgreSQL 15.20 (Debian …)", "PostgreSQL 19rc1" -> 15, 19
pg_major() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

supported_major() { case $1 in 15 | 16 | 17 | 18 | 19) ;; *) return 1 ;; esac; }

# The choice, in this order: PG_CONFIG, PG_MAJOR, the pg_config on the PATH, the newest one in Debian's place.
# Prints nothing when there is none yet.
find_pg_config() {
    local candidate
    if [ -n "${PG_CONFIG:-}" ]; then
        command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG=$PG_CONFIG: no such program"
        real_pg_config "$PG_CONFIG"
        return
    fi
    if [ -n "${PG_MAJOR:-}" ]; then
        candidate=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
        [ ! -x "$candidate" ] || printf '%s\n' "$candidate"
        return
    fi
    for candidate in "$(command -v pg_config || true)" /usr/lib/postgresql/{19,18,17,16,15}/bin/pg_config; do
        [ -n "$candidate" ] && [ -x "$candidate" ] || continue
        candidate=$(real_pg_config "$candidate") || continue
        if supported_major "$(pg_major "$candidate")" && [ -x "$(dirname "$candidate")/postgres" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

use_postgres() {
    PG_CONFIG=$(find_pg_config)
    [ -n "$PG_CONFIG" ] || die "no PostgreSQL server found: run 'make prerequisites', or give PG_CONFIG=/path/to/pg_config"
    MAJOR=$(pg_major "$PG_CONFIG")
    supported_major "$MAJOR" || die "$PG_CONFIG is PostgreSQL $MAJOR: 15 to 19 are supported"
    export PG_CONFIG MAJOR
}

# --- Rust -------------------------------------------------------------------------------------------------

rustc_is_new_enough() { # as chosen by the environment
    local version
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$RUST_NEEDED" "${version%%-*}" | sort -V | head -n 1)" = "$RUST_NEEDED" ]
}

# The default toolchain when it is new enough, else an installed one that is. Nothing is ever downloaded here.
use_rust() {
    if [ -f "$HOME/.cargo/bin/cargo" ]; then case :$PATH: in *":$HOME/.cargo/bin:"*) ;; *) PATH=$HOME/.cargo/bin:$PATH ;; esac; fi
    command -v cargo >/dev/null || die "Rust is missing: install Rust $RUST_NEEDED or newer from https://rustup.rs"
    export RUSTUP_AUTO_INSTALL=0
    if rustc_is_new_enough; then return 0; fi
    local name
    if command -v rustup >/dev/null; then
        for name in $(rustup toolchain list | cut -d ' ' -f 1 | sort -V -r); do
            if RUSTUP_TOOLCHAIN=$name rustc_is_new_enough; then
                export RUSTUP_TOOLCHAIN=$name
                return 0
            fi
        done
    fi
    die "Rust $RUST_NEEDED or newer is needed, this is $(rustc --version 2>/dev/null || echo none): run 'rustup update stable'"
}

# --- cargo-pgrx -------------------------------------------------------------------------------------------

# Sets CARGO_PGRX to a cargo-pgrx of exactly the pinned version; fails when there is none.
find_cargo_pgrx() {
    local candidate
    for candidate in "$TARGET/tools/bin/cargo-pgrx" "$(command -v cargo-pgrx || true)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] &&
            [ "$("$candidate" pgrx --version 2>/dev/null)" = "cargo-pgrx $CARGO_PGRX_VERSION" ]; then
            export CARGO_PGRX=$candidate
            return 0
        fi
    done
    return 1
}

# What `cargo pgrx init` would write, in a place of our own. Always the same path, and touched only on change:
# pgrx's build script watches this file, and would otherwise generate its bindings again.
use_pgrx_home() {
    export PGRX_HOME=$TARGET/pgrx
    mkdir -p "$PGRX_HOME"
    local wanted
    wanted=$(printf '[configs]\npg%s = "%s"\n' "$MAJOR" "$PG_CONFIG")
    if [ "$(cat "$PGRX_HOME/config.toml" 2>/dev/null)" != "$wanted" ]; then printf '%s\n' "$wanted" >"$PGRX_HOME/config.toml"; fi
    PG_FEATURES=(--no-default-features --features "pg$MAJOR")
}

# All of the above, as xtask needs it. prerequisites.sh has been run before.
use_everything() {
    use_rust
    use_postgres
    use_pgrx_home
    find_cargo_pgrx || die "cargo-pgrx $CARGO_PGRX_VERSION is missing: run 'make prerequisites'"
}
