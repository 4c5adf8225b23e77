#!/usr/bin/env bash
# From nothing to live stream tables: installs what is missing, builds, starts a private PostgreSQL, and runs the example
# dbt project in examples/shop on it.  Touches no other cluster; stops and removes its own at the end.
#
#   bash examples/quickstart.sh          the whole tour
#   bash examples/quickstart.sh --keep   leave the cluster running, and say how to reach it
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. test/lib/setup.sh

keep=
[ "${1:-}" != --keep ] || keep=yes

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "Setting up: PostgreSQL, the extension, dbt"
[ -n "${PG_CONFIG:-}" ] || pgs_install_debian_server
pgs_build
pgs_install_dbt
pgs_start_cluster quickstart "shared_preload_libraries = 'dbt_pgstream'" "dbt_pgstream.scheduler = on"
export PGDATABASE=shop
psql -qX -d postgres -c "CREATE DATABASE shop"
psql -qX -c "CREATE EXTENSION dbt_pgstream"
psql -qX -v ON_ERROR_STOP=1 -f examples/shop/raw/load.sql > /dev/null
echo "a shop with $(psql -XAtc 'SELECT count(*) FROM raw.order_lines') order lines"

# dbt works on a copy, so that the checkout stays clean
project=$PGS_CLUSTER/examples/shop
mkdir -p "$PGS_CLUSTER/examples"
cp -r examples/shop "$project"
cp -r dbt_package "$PGS_CLUSTER/dbt_package"
dbt() { (cd "$project" && "$PGS_VENV/bin/dbt" --quiet "$@" --profiles-dir .); }
dbt_loud() { (cd "$project" && "$PGS_VENV/bin/dbt" --no-use-colors "$@" --profiles-dir .); }

say "dbt deps, dbt build"
dbt_loud deps | grep -i install || true
dbt_loud build | grep -E ' OK | PASS |ERROR|FAIL|Done' | cut -c11-

say "The shop goes on selling, and nobody runs dbt"
top() { psql -XAtc "SELECT region || ' ' || country || ': ' || revenue FROM shop.revenue_by_region ORDER BY place LIMIT 1"; }
before=$(top)
echo "leading now:            $before"
psql -qX <<'SQL'
INSERT INTO raw.orders SELECT 100000 + i, 4, now() FROM generate_series(1, 200) i;
INSERT INTO raw.order_lines SELECT 100000 + i, 1, 40, 50 FROM generate_series(1, 200) i;
UPDATE raw.orders SET status = 'returned' WHERE id <= 10;
DELETE FROM raw.order_lines WHERE order_id = 4999;
SQL
for _ in $(seq 100); do
    after=$(top)
    [ "$after" = "$before" ] || break
    sleep 0.1
done
[ "$after" != "$before" ] || { echo "the stream tables did not follow" >&2; exit 1; }
echo "leading a moment later: $after"
psql -qX -c "SELECT dbt_pgstream.refresh_all()" > /dev/null
dbt run-operation status
for model in order_items daily_revenue customer_value revenue_by_region; do
    dbt run-operation verify --args "{model_name: $model}" | tail -1
done

say "A second dbt run: nothing to do"
dbt_loud run | grep -E 'stream_table.*(OK|ERROR)|OK created sql stream_table|Done' | cut -c11-

say "dbt source freshness, without a loaded_at column"
dbt_loud source freshness | grep -E 'PASS|WARN|ERROR' | cut -c11-

say "dbt docs generate"
dbt docs generate
"$PGS_VENV/bin/python" - "$project/target/catalog.json" <<'PY'
import json, sys
node = json.load(open(sys.argv[1]))["nodes"]["model.shop.daily_revenue"]
print("daily_revenue is a", node["metadata"]["type"], {k: v["value"] for k, v in node["stats"].items() if v["include"]})
PY

say "Why and when: explain"
dbt run-operation explain --args '{model_name: daily_revenue}' | grep -v '^plan' | cut -c1-120

say "What to try next"
cat <<TXT
  in your project:   packages.yml    - git: <this repository>
                                       subdirectory: dbt_package
                     a model         {{ config(materialized='stream_table', schedule='30s') }} select ...
  operations:        dbt run-operation status | explain | refresh | refresh_history | pause | resume | verify
  in SQL:            SELECT * FROM dbt_pgstream.pg_stat_stream_tables;
                     SELECT * FROM dbt_pgstream.check_query('SELECT ...');
TXT
if [ -n "$keep" ]; then
    trap - EXIT
    echo "  the cluster runs on: psql -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE     (project: $project)"
    echo "  stop it with:        $(dirname "$PG_CONFIG")/pg_ctl -D $PGS_CLUSTER/data stop, as $(pgs_server_user); then remove $PGS_CLUSTER"
fi
