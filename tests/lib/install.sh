#!/bin/bash
# A release build, installed into the Postgres that PG_CONFIG belongs to.
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
use_everything
cd "$ROOT"

SHAREDIR=$("$PG_CONFIG" --sharedir) PKGLIBDIR=$("$PG_CONFIG" --pkglibdir)
for dir in "$SHAREDIR/extension" "$PKGLIBDIR"; do
    [ -w "$dir" ] || die "cannot write $dir: run as a user who can, such as root: make install PG_CONFIG=$PG_CONFIG"
done
say "building and installing a release build into PostgreSQL $MAJOR ($PKGLIBDIR)"
"$CARGO_PGRX" pgrx install --release --pg-config "$PG_CONFIG" "${PG_FEATURES[@]}" </dev/null
chmod a+r "$SHAREDIR"/extension/leadlex_enrich* "$PKGLIBDIR"/leadlex_enrich.so
cat <<END

Installed. Two steps are left:
  1. in postgresql.conf:  shared_preload_libraries = 'leadlex_enrich'    (keep others, separated by commas), and restart
  2. in the database:     CREATE EXTENSION leadlex_enrich;
END
