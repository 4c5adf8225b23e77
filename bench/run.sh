#!/usr/bin/env bash
# Run one benchmark, or all, on a private cluster:  bash bench/run.sh writes|refresh|flat|dag|latency|dbt_run|tpch|memory|all [arguments]
# Each prints a table of what was measured against a baseline in the same run, and the same as JSON.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. test/lib/setup.sh
all="writes refresh flat dag latency dbt_run tpch memory"
names=${1:?which benchmark: $all, or all}
shift
[ "$names" != all ] || names=$all
[ -n "${PG_CONFIG:-}" ] || pgs_install_debian_server
pgs_build
pgs_install_dbt psycopg2-binary tpchgen-cli
# tables are vacuumed where it is wanted, and nothing else happens beside: a vacuum can keep capture from beginning
pgs_start_cluster bench "shared_buffers = 512MB" "max_wal_size = 8GB" "autovacuum = off"
export PGDATABASE=bench DBT=$PGS_VENV/bin/dbt
for name in $names; do
    psql -qX -d postgres -c "SET client_min_messages = warning" -c "DROP DATABASE IF EXISTS bench WITH (FORCE)" -c "CREATE DATABASE bench"
    psql -qX -c "CREATE EXTENSION dbt_pgstream"
    (cd "$PGS_WORK" && "$PGS_VENV/bin/python" "$root/bench/$name.py" "$@")
done
