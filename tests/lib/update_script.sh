#!/bin/bash
# Makes the script that updates a released version to this one.  usage: update_script.sh VERSION DELTA
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ -n "${1:-}" ] && [ -f "${2:-}" ] || die "usage: make update-script FROM=<released version> DELTA=<file that changes its tables>"
use_rust
use_postgres
use_pgrx_home

RELEASED=$(mktemp -d)
trap 'rm -rf "$RELEASED"' EXIT
git -C "$ROOT" archive "v$1" sql | tar -x -C "$RELEASED" || die "no tag v$1 in this clone"
cargo build -q --manifest-path "$ROOT/Cargo.toml" "${PG_FEATURES[@]}" --example update_script
NEW=$(sed -nE '0,/^version = /s/^version = "(.*)"/\1/p' "$ROOT/Cargo.toml")
SCRIPT=$ROOT/sql/leadlex_enrich--$1--$NEW.sql
"$TARGET/debug/examples/update_script" "$1" "$RELEASED/sql" "$2" >"$RELEASED/script"
cp "$RELEASED/script" "$SCRIPT"
say "made ${SCRIPT#"$ROOT"/}"
