#!/bin/bash
# Builds the extension and puts it into a private copy of the Postgres installation: target/pg-15 (dev) or
# target/pg-15-release. The system's own Postgres directories are never written.  usage: build.sh [release]
#
# Postgres finds share/ and lib/ relative to its own binary, when that stands in a tree of the same shape. So
# the tree holds copies of the binaries, at the path they have in the system, and links to all the rest.
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
use_everything

PROFILE=${1:-dev}
case $PROFILE in
# With what tests look at; no release has it.
dev) FLAGS=(--debug --features session_state) NAME=pg-$MAJOR ;;
release) FLAGS=() NAME=pg-$MAJOR-release ;;
*) die "usage: build.sh [release]" ;;
esac
TREE=$RUN_BASE/$NAME
BINDIR=$("$PG_CONFIG" --bindir) SHAREDIR=$("$PG_CONFIG" --sharedir) PKGLIBDIR=$("$PG_CONFIG" --pkglibdir)

# Links to everything in a directory but what is ours (a `make install` may have put one there).
link_all() { # from to [also without this name]
    local entry entries=()
    for entry in "$1"/*; do
        case ${entry##*/} in leadlex_enrich* | "${3:-}") ;; *) entries+=("$entry") ;; esac
    done
    mkdir -p "$2"
    ln -sfn -t "$2" "${entries[@]}"
}

make_tree() {
    local stamp
    stamp="$("$PG_CONFIG" --version) $(stat -c '%n %Y' "$BINDIR/postgres" "$SHAREDIR/extension" "$PKGLIBDIR")"
    if [ "$(cat "$TREE/.made-from" 2>/dev/null)" = "$stamp" ]; then return; fi
    mkdir -p "$TREE$BINDIR"
    cp -L --remove-destination "$BINDIR"/* "$TREE$BINDIR/"
    link_all "$SHAREDIR" "$TREE$SHAREDIR" extension
    link_all "$SHAREDIR/extension" "$TREE$SHAREDIR/extension"
    link_all "$PKGLIBDIR" "$TREE$PKGLIBDIR"
    ln -sfn ".$BINDIR" "$TREE/bin"
    printf '%s\n' "$stamp" >"$TREE/.made-from"
}

build() {
    local out=$TARGET/package/$NAME log=$TARGET/log/build-$PROFILE.log
    mkdir -p "$TARGET/log"
    rm -rf "$out"
    say "building the extension for PostgreSQL $MAJOR ($PROFILE)"
    # Warnings and progress of cargo pass, cargo-pgrx's own chatter goes to the log.
    if ! "$CARGO_PGRX" pgrx package "${FLAGS[@]}" --pg-config "$PG_CONFIG" --out-dir "$out" "${PG_FEATURES[@]}" \
        </dev/null 2> >(tee "$log.err" | grep --line-buffered -E '^ *(Compiling|warning|error|-->|\||[0-9]+ \||=|Finished)' >&2) >"$log"; then
        tail -n 30 "$log" "$log.err" >&2
        die "the build failed"
    fi
}

# By rename, and only what changed: a server that runs from this tree keeps the library it has mapped.
install_into_tree() {
    local out=$TARGET/package/$NAME file
    for file in "$TREE$SHAREDIR"/extension/leadlex_enrich*; do
        [ -e "$out${file#"$TREE"}" ] || rm -f "$file"
    done
    find "$out" -type f | while read -r file; do
        local to=$TREE${file#"$out"}
        if cmp -s "$file" "$to"; then continue; fi
        mkdir -p "$(dirname "$to")"
        cp "$file" "$to.new"
        chmod a+rX "$to.new"
        mv -f "$to.new" "$to"
    done
}

exec 8>"$TARGET/build.lock"
flock 8
build
make_tree
install_into_tree
[ "$TREE" = "$TARGET/$NAME" ] || ln -sfn "$TREE" "$TARGET/$NAME"
