#!/bin/bash
# Removes target/ and, where clusters had to live elsewhere, that place.
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ -L "$TARGET/run" ]; then rm -rf "$(dirname "$(readlink "$TARGET/run")")"; fi
rm -rf "$TARGET"
