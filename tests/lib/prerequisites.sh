#!/bin/bash
# Installs what is missing on this machine, by Debian package name, and cargo-pgrx under target/tools.
# Changes nothing when everything is there.  usage: prerequisites.sh [test|bench|matrix]
# shellcheck source=tests/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

WANT=${1:-}
PACKAGES=()

# As root, so that a command can be put behind it; 1 where that is not possible without a password that nobody can give.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; return; fi
    command -v sudo >/dev/null || return 1
    if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
}

# Without lists of packages, as in images of containers, apt knows neither what Debian ships nor what it serves.
know_packages() {
    command -v apt-get >/dev/null && ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || return 0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >"$TARGET/log/apt-update.log" 2>&1 || true
}

# The major version to install where there is no server: the one asked for, else the one Debian ships.
wanted_major() {
    if [ -n "${PG_MAJOR:-}" ]; then printf '%s\n' "$PG_MAJOR"; return; fi
    local shipped
    know_packages
    shipped=$(apt-cache depends postgresql 2>/dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1 || true)
    printf '%s\n' "${shipped:-15}"
}

libclang_is_there() {
    /sbin/ldconfig -p 2>/dev/null | grep 'libclang[-.]' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null
}

missing_for_postgres() {
    local config major
    config=$(find_pg_config)
    if [ -n "$config" ]; then major=$(pg_major "$config"); else major=$(wanted_major); fi
    supported_major "$major" || die "PostgreSQL $major is not supported: 15 to 19 are"
    local bindir=/usr/lib/postgresql/$major/bin
    [ -z "$config" ] || bindir=$(dirname "$config")
    [ -x "$bindir/postgres" ] && [ -x "$bindir/initdb" ] || PACKAGES+=("postgresql-$major")
    [ -x "$bindir/psql" ] || PACKAGES+=("postgresql-client-$major")
    if [ -z "$config" ] || [ ! -f "$("$config" --includedir-server)/postgres.h" ] ||
        [ ! -x "$(dirname "$("$config" --pgxs)")/../test/isolation/pg_isolation_regress" ]; then
        PACKAGES+=("postgresql-server-dev-$major")
    fi
    if [ "$WANT" = bench ]; then missing_for_bench "$major" "$config"; fi
    if [ "$WANT" = test ]; then missing_for_test "$major" "$config"; fi
}

# Whether apt could install it: it also knows names that only other packages mention.
is_served() {
    know_packages
    # No grep -q behind a pipe: it ends at the first hit, and what still writes then fails the whole (pipefail).
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -E '^ *Candidate: [^(]' >/dev/null
}

missing_for_test() {
    local libdir=/usr/lib/postgresql/$1/lib
    [ -z "$2" ] || libdir=$("$2" --pkglibdir)
    [ -x /usr/sbin/pgbouncer ] || PACKAGES+=(pgbouncer)
    # What stands in front of vendors.
    [ -x /usr/sbin/nginx ] || PACKAGES+=(nginx-light)
    [ -x /usr/sbin/haproxy ] || PACKAGES+=(haproxy)
    [ -x /usr/sbin/apache2 ] || PACKAGES+=(apache2-bin)
    [ -x /usr/bin/caddy ] || PACKAGES+=(caddy)
    [ -x /usr/sbin/lighttpd ] || PACKAGES+=(lighttpd)
    [ -x /usr/sbin/squid ] || PACKAGES+=(squid)
    # Not in each Debian; its test says so where it is missing.
    if [ ! -x /usr/sbin/varnishd ] && is_served varnish; then PACKAGES+=(varnish); fi
    # What logs statements with their parameters. Debian has it for the major that it ships, so not for each.
    if [ ! -e "$libdir/pgaudit.so" ] && is_served "postgresql-$1-pgaudit"; then
        PACKAGES+=("postgresql-$1-pgaudit")
    fi
}

missing_for_matrix() {
    [ -x /usr/sbin/debootstrap ] || PACKAGES+=(debootstrap)
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || PACKAGES+=(debian-archive-keyring)
}

missing_for_bench() {
    local sharedir=/usr/share/postgresql/$1
    [ -z "$2" ] || sharedir=$("$2" --sharedir)
    [ -x /usr/sbin/nginx ] || PACKAGES+=(nginx-light)
    [ -e /usr/lib/nginx/modules/ngx_http_echo_module.so ] || PACKAGES+=(libnginx-mod-http-echo)
    [ -e "$sharedir/extension/plpython3u.control" ] || PACKAGES+=("postgresql-plpython3-$1")
    [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import urllib3' 2>/dev/null || PACKAGES+=(python3-urllib3)
    # Not in each Debian; the bench says so where it is missing.
    if [ ! -e "$sharedir/extension/http.control" ] && is_served "postgresql-$1-http"; then
        PACKAGES+=("postgresql-$1-http")
    fi
    # The provider's certificate, and the roots that stand beside it.
    [ -x /usr/bin/openssl ] || PACKAGES+=(openssl)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || PACKAGES+=(ca-certificates)
    # BASE=<commit> is built in a clone of this one.
    [ -z "${BASE:-}" ] || command -v git >/dev/null || PACKAGES+=(git)
}

# Postgres's own headers include this one where it was built with ICU, as Debian's is; its packages do not bring it.
icu_is_wanted_and_missing() {
    local config header
    config=$(find_pg_config)
    if [ -n "$config" ]; then
        header=$("$config" --includedir-server)/pg_config.h
        if [ -f "$header" ] && ! grep -q '^#define USE_ICU 1' "$header"; then return 1; fi
    fi
    ! echo '#include <unicode/ucol.h>' | cc -E -o /dev/null - 2>/dev/null
}

missing_for_build() {
    command -v cc >/dev/null && command -v ld >/dev/null || PACKAGES+=(build-essential)
    libclang_is_there || PACKAGES+=(libclang-dev)
    if icu_is_wanted_and_missing; then PACKAGES+=(libicu-dev); fi
    find_cargo_pgrx && return
    command -v pkg-config >/dev/null || PACKAGES+=(pkg-config)
    { command -v pkg-config >/dev/null && pkg-config --exists openssl; } || PACKAGES+=(libssl-dev)
}

apt_install() {
    command -v apt-get >/dev/null ||
        die "missing: ${PACKAGES[*]} (Debian's names): this is no Debian, install their like and give PG_CONFIG=/path/to/pg_config"
    local by_hand="apt-get install ${PACKAGES[*]}" root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "missing: ${PACKAGES[*]}; run as root: $by_hand"
        if [ -t 0 ]; then root=(sudo); else root=(sudo -n); fi
        "${root[@]}" true || die "missing: ${PACKAGES[*]}; run as root: $by_hand"
    fi
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0)
    # Debian's postgresql package makes and starts a cluster of its own, which nobody asked for here.
    # A drop-in that stands only during the installation prevents that.
    local drop_in=/etc/postgresql-common/createcluster.d/leadlex_enrich.conf
    "${root[@]}" mkdir -p "$(dirname "$drop_in")"
    echo 'create_main_cluster = false' | "${root[@]}" tee "$drop_in" >/dev/null
    # PgBouncer and the web servers would be started, too, unless this says no (Debian's policy for that, see invoke-rc.d).
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; else
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
    fi
    # shellcheck disable=SC2064
    trap "${root[*]} rm -f $drop_in $policy" EXIT
    if [ ! -t 0 ] || [ "$(id -u)" -eq 0 ]; then
        quietly "refreshing the package lists (apt-get update)" "$TARGET/log/apt-update.log" "${apt[@]}" update -q
        quietly "installing ${PACKAGES[*]}" "$TARGET/log/apt-install.log" \
            "${apt[@]}" install -y -q --no-install-recommends "${PACKAGES[@]}"
    else
        say "installing ${PACKAGES[*]}"
        "${apt[@]}" update -q && "${apt[@]}" install -y -q --no-install-recommends "${PACKAGES[@]}" || die "could not: $by_hand"
    fi
    "${root[@]}" rm -f "$drop_in" ${policy:+"$policy"}
    trap - EXIT
    # Nor at the next boot: only tests use it.
    local package
    for package in "${PACKAGES[@]}"; do
        case $package in pgbouncer | haproxy | nginx-light | caddy | lighttpd | squid | varnish)
            "${root[@]}" systemctl disable "${package%-light}" >/dev/null 2>&1 || true ;;
        esac
    done
}

install_cargo_pgrx() {
    quietly "building cargo-pgrx $CARGO_PGRX_VERSION into target/tools (once, 2–3 minutes)" "$TARGET/log/cargo-pgrx.log" \
        env CARGO_TARGET_DIR="$TARGET/tools/build" cargo install cargo-pgrx --version "$CARGO_PGRX_VERSION" --locked --debug \
        --no-default-features --features native-tls --root "$TARGET/tools"
    rm -rf "$TARGET/tools/build"
}

use_rust
mkdir -p "$TARGET/log"
if [ "$WANT" = matrix ]; then
    missing_for_matrix
    if [ ${#PACKAGES[@]} -gt 0 ]; then apt_install; fi
    exit 0
fi
missing_for_postgres
missing_for_build
if [ ${#PACKAGES[@]} -gt 0 ]; then apt_install; fi
use_postgres
find_cargo_pgrx || install_cargo_pgrx
find_cargo_pgrx || die "cargo-pgrx $CARGO_PGRX_VERSION was built but does not start: see $TARGET/log/cargo-pgrx.log"
