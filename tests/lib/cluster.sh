# Sourced after common.sh, with use_everything done: private clusters for the demo, the regression suites and the bench.
# shellcheck shell=bash

free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free TCP port found between 20000 and 32000"
}

# Postgres with a clean environment: RUST_BACKTRACE would put backtraces into DETAIL, LC_* would translate messages.
# With no locale at all, Postgres says so in its log.
pg() { # program args…
    local program=$1
    shift
    as_postgres env -i PATH="$PATH" LC_ALL=C TZ=UTC "$TREE/bin/$program" "$@" 9>&-
}

# Sets CLUSTER (a directory), PORT and SOCKET_DIR. Extra arguments are lines for postgresql.conf.
# A socket path has at most 107 bytes, so that in a deep clone the socket goes to /tmp.
cluster_create() { # name tree [line…]
    CLUSTER=$RUN_DIR/$1 TREE=$2
    shift 2
    cluster_stop_at "$CLUSTER"
    rm -rf "$CLUSTER"
    mkdir -p "$CLUSTER"
    [ -z "$RUN_AS" ] || chown "$RUN_AS" "$CLUSTER"
    PORT=$(free_port)
    SOCKET_DIR=$CLUSTER
    [ ${#CLUSTER} -le 80 ] || SOCKET_DIR=/tmp
    pg initdb -D "$CLUSTER/data" -U postgres -A trust --no-locale -E UTF8 --no-sync >"$CLUSTER/initdb.log" 2>&1 ||
        die "initdb failed: $(tail -n 3 "$CLUSTER/initdb.log")"
    {
        printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\n" "$PORT" "$SOCKET_DIR"
        printf "shared_preload_libraries = 'leadlex_enrich'\nleadlex.allow_private_addresses = on\n"
        printf "timezone = 'UTC'\nlog_timezone = 'UTC'\nmax_connections = 150\n"
        for line in "$@"; do printf '%s\n' "$line"; done
    } >>"$CLUSTER/data/postgresql.conf"
}

cluster_start() {
    pg pg_ctl -D "$CLUSTER/data" -l "$CLUSTER/log" -w -t 60 -s start >"$CLUSTER/pg_ctl.log" 2>&1 ||
        die "the server did not start: $(tail -n 5 "$CLUSTER/log")"
}

# Quiet when nothing runs there. TREE must be set.
cluster_stop_at() { # directory
    [ -f "$1/data/postmaster.pid" ] || return 0
    pg pg_ctl -D "$1/data" -m fast -w -t 30 -s stop >/dev/null 2>&1 ||
        pg pg_ctl -D "$1/data" -m immediate -w -t 30 -s stop >/dev/null 2>&1 || true
}

# psql of this cluster; arguments as for psql.
sql() { PGHOST=$SOCKET_DIR PGPORT=$PORT PGUSER=${PGUSER:-postgres} "$TREE/bin/psql" -X "$@"; }
