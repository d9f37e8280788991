#!/bin/bash
# rustfmt and clippy, warnings are errors.
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
use_everything
cd "$ROOT"

for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 ||
        die "cargo $component is missing in this toolchain: run 'rustup component add rustfmt clippy'"
done
case ${1:-all} in all | fmt) cargo fmt --all --check ;; esac
case ${1:-all} in all | clippy) cargo clippy --workspace --all-targets "${PG_FEATURES[@]}" --features session_state -- -D warnings </dev/null ;; esac
