# Installing, building and starting a private cluster: shared by test/run.sh and examples/quickstart.sh.
# Sets PG_CONFIG, PGHOST, PGPORT, PGUSER, PGS_WORK.  Everything lies under .work/ of the checkout, but for what apt and
# "make install" put in place.
PGS_WORK=$root/.work
mkdir -p "$PGS_WORK"

pgs_apt() {   # package...
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || { echo "need root to install: ${missing[*]}" >&2; exit 1; }
    echo "-- installing ${missing[*]}"
    # a fresh PostgreSQL package would start a cluster of its own: keep it from that
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    fi
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > "$PGS_WORK/apt.log" 2>&1; then
        apt-get update -qq >> "$PGS_WORK/apt.log" 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >> "$PGS_WORK/apt.log" 2>&1 ||
            { tail -20 "$PGS_WORK/apt.log" >&2; exit 1; }
    fi
}

# Debian's PostgreSQL: "test" adds what the tests need.
pgs_install_debian_server() {
    local v
    pgs_apt make gcc python3-venv postgresql-common
    v=$(apt-cache show postgresql 2>/dev/null | sed -n 's/^Depends:.*postgresql-\([0-9]\+\).*/\1/p' | head -1)
    if [ -z "$v" ]; then
        apt-get update -qq
        v=$(apt-cache show postgresql | sed -n 's/^Depends:.*postgresql-\([0-9]\+\).*/\1/p' | head -1)
    fi
    pgs_apt "postgresql-$v" "postgresql-server-dev-$v"
    [ "${1:-}" != test ] || pgs_apt "postgresql-$v-pgtap" libtap-parser-sourcehandler-pgtap-perl
    PG_CONFIG=/usr/lib/postgresql/$v/bin/pg_config
}

# 16, which is in no Debian suite: from the PyPI package pgserver, which has headers, too (16.2, without asserts, XML and ICU).
pgs_install_wheel_server() {
    local prefix=$PGS_WORK/postgresql-16
    PG_CONFIG=$prefix/pgserver/pginstall/bin/pg_config
    pgs_apt make gcc python3-venv
    [ -e "$prefix/.done" ] && return
    echo "-- fetching PostgreSQL 16"
    rm -rf "$prefix"
    mkdir -p "$prefix"
    python3 -m venv "$prefix/venv"
    "$prefix/venv/bin/pip" download -q --no-deps -d "$prefix" pgserver==0.1.4
    python3 -m zipfile -e "$prefix"/pgserver-*.whl "$prefix"
    chmod -R a+rX "$prefix/pgserver"*
    chmod a+x "$prefix"/pgserver/pginstall/bin/* "$prefix"/pgserver/pginstall/lib/postgresql/pgxs/src/test/*/*
    touch "$prefix/.done"
}

# A newer major from Debian's source package, with asserts: built once, kept under .work/.
pgs_install_newer_server() {   # major
    if [ "$1" = 16 ]; then
        pgs_install_wheel_server
        return
    fi
    local prefix=$PGS_WORK/postgresql-$1 build=$PGS_WORK/build-$1 source
    PG_CONFIG=$prefix/bin/pg_config
    pgs_apt make gcc python3-venv dpkg-dev bison flex perl libreadline-dev zlib1g-dev libxml2-dev pkg-config ca-certificates xz-utils bzip2
    [ -e "$prefix/.done" ] && return
    echo "-- building PostgreSQL $1 (a few minutes)"
    rm -rf "$build" "$prefix"
    mkdir -p "$build/lists/partial"
    # the mirror that this machine uses already, with the source packages of newer suites, in lists of our own
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' | grep -E '/debian/?$' | head -1)
    [ -n "$mirror" ] || { apt-get update -qq; mirror=$(apt-get indextargets --format '$(SITE)' | grep -E '/debian/?$' | head -1); }
    for suite in sid forky trixie; do
        echo "deb-src [trusted=yes] ${mirror:?no Debian mirror found} $suite main"
    done > "$build/sources.list"
    local apt=(-o "Dir::Etc::sourcelist=$build/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$build/lists"
               -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root)
    (
        cd "$build"
        apt-get "${apt[@]}" update -qq || true     # a suite that the mirror lacks is no harm
        apt-get "${apt[@]}" source -qq --download-only "postgresql-$1"
        tar xf postgresql-"$1"_*.orig.tar.*
        cd postgresql-"$1"*/
        CFLAGS="-O1 -g" ./configure -q --prefix="$prefix" --enable-cassert --without-icu --with-libxml
        make -s -j"$(nproc)"
        make -s install
        make -s -C contrib install
        make -s -C src/test/isolation install
    ) > "$build/log" 2>&1 || { tail -20 "$build/log" >&2; exit 1; }
    touch "$prefix/.done"
    rm -rf "$build"/postgresql-*/
}

pgs_build() {
    echo "-- building against $("$PG_CONFIG" --version)"
    make -s clean PG_CONFIG="$PG_CONFIG" > /dev/null
    # a warning is an error: the project promises none
    make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" COPT=-Werror > "$PGS_WORK/make.log" 2>&1 || { cat "$PGS_WORK/make.log" >&2; exit 1; }
    make -s install PG_CONFIG="$PG_CONFIG" > "$PGS_WORK/make.log" 2>&1 || { cat "$PGS_WORK/make.log" >&2; exit 1; }
}

# PostgreSQL refuses to run as root: then the cluster belongs to the user "postgres", which Debian's packages make, or nobody.
pgs_server_user() {
    if [ "$(id -u)" -ne 0 ]; then id -un; elif id postgres > /dev/null 2>&1; then echo postgres; else echo nobody; fi
}
pgs_as_server() { if [ "$(id -u)" -eq 0 ]; then (cd / && setpriv --reuid "$(pgs_server_user)" --regid "$(id -g "$(pgs_server_user)")" --clear-groups env HOME=/tmp "$@"); else "$@"; fi; }
pgs_as_user() { "$@"; }

# A cluster of our own, reachable by a socket in its own directory only; stopped and removed at exit.
pgs_start_cluster() {   # name [line of configuration...]
    local bin
    bin=$("$PG_CONFIG" --bindir)
    PGS_CLUSTER=$(mktemp -d "/tmp/pgstream-$1.XXXXXX")
    chown "$(pgs_server_user)" "$PGS_CLUSTER"
    chmod 755 "$PGS_CLUSTER"
    trap pgs_stop_cluster EXIT
    pgs_as_server "$bin/initdb" -D "$PGS_CLUSTER/data" -A trust -U postgres -E UTF8 --no-locale --no-sync > "$PGS_WORK/initdb.log" 2>&1 ||
        { cat "$PGS_WORK/initdb.log" >&2; exit 1; }
    shift
    printf '%s\n' "port = 5432" "listen_addresses = ''" "unix_socket_directories = '$PGS_CLUSTER'" "fsync = off" "max_worker_processes = 20" \
        "dbt_pgstream.scheduler = off" "$@" > "$PGS_CLUSTER/extra.conf"
    cat "$PGS_CLUSTER/extra.conf" | pgs_as_server tee -a "$PGS_CLUSTER/data/postgresql.conf" > /dev/null
    pgs_as_server "$bin/pg_ctl" -D "$PGS_CLUSTER/data" -l "$PGS_CLUSTER/log" -w start > /dev/null || { cat "$PGS_CLUSTER/log" >&2; exit 1; }
    export PGHOST=$PGS_CLUSTER PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PG_CONFIG
    PATH=$bin:$PATH
}

pgs_stop_cluster() {
    [ -n "${PGS_CLUSTER:-}" ] || return 0
    pgs_as_server "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$PGS_CLUSTER/data" -m immediate stop > /dev/null 2>&1 || true
    rm -rf "$PGS_CLUSTER"
    PGS_CLUSTER=
}

# A virtual environment with dbt, and with what the tests need on top; packages once installed stay.
pgs_install_dbt() {   # [package...]
    local missing=() p
    PGS_VENV=$PGS_WORK/venv
    [ -x "$PGS_VENV/bin/pip" ] || python3 -m venv --clear "$PGS_VENV"
    touch "$PGS_VENV/.packages"
    for p in "dbt-core<1.12" "dbt-postgres<1.12" "$@"; do
        grep -qxF "$p" "$PGS_VENV/.packages" || missing+=("$p")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "-- installing ${missing[*]}"
        # dbt's pins are named again, or a test package might lift them
        "$PGS_VENV/bin/pip" install -q --disable-pip-version-check "dbt-core<1.12" "dbt-postgres<1.12" "${missing[@]}" \
            > "$PGS_WORK/pip.log" 2>&1 || { tail -20 "$PGS_WORK/pip.log" >&2; exit 1; }
        printf '%s\n' "${missing[@]}" >> "$PGS_VENV/.packages"
    fi
    export DBT_SEND_ANONYMOUS_USAGE_STATS=false
}

pgs_pytest() {   # suite folder
    local log=$PGS_WORK/$1.log good bad
    pgs_install_dbt pytest pytest-xdist dbt-tests-adapter psycopg2-binary
    # from another directory: dbt imports whatever in the current one begins with "dbt_", a shared library too
    (cd "$PGS_WORK" && "$PGS_VENV/bin/pytest" -q -n "$(nproc)" --dist loadscope -p no:cacheprovider -W ignore "$root/$2") \
        > "$log" 2>&1 || cat "$log"
    good=$(sed -n 's/.*\b\([0-9]\+\) passed.*/\1/p' "$log" | tail -1)
    bad=$(sed -n 's/.*\b\([0-9]\+\) failed.*/\1/p' "$log" | tail -1)
    local broken
    broken=$(sed -n 's/.*\b\([0-9]\+\) errors\?\b.*/\1/p' "$log" | tail -1)
    [ -n "$good$bad$broken" ] || bad=1
    count "$1" "${good:-0}" $((${bad:-0} + ${broken:-0}))
}
