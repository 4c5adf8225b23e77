#!/usr/bin/env bash
# Run one benchmark on a private cluster:  bash bench/run.sh dbt_run|refresh|writes [arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. test/lib/setup.sh
name=${1:?which benchmark: dbt_run, refresh or writes}
shift
[ -n "${PG_CONFIG:-}" ] || pgs_install_debian_server
pgs_build
pgs_install_dbt psycopg2-binary
pgs_start_cluster bench "shared_buffers = 512MB" "max_wal_size = 8GB"
export PGDATABASE=bench DBT=$PGS_VENV/bin/dbt
psql -qX -d postgres -c "CREATE DATABASE bench"
psql -qX -c "CREATE EXTENSION dbt_pgstream"
(cd "$PGS_WORK" && "$PGS_VENV/bin/python" "$root/bench/$name.py" "$@")
