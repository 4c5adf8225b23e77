#!/usr/bin/env bash
# Set up everything and run every test on a private cluster.
#
#   bash test/run.sh                 Debian's PostgreSQL
#   bash test/run.sh --pg 18         the newest major, or 17, from Debian's source package, with asserts on
#   bash test/run.sh --pg 16         from the PyPI package pgserver
#   bash test/run.sh --only regress  one suite: regress, isolation, pgtap, restart, dbt
#
# PG_CONFIG=/path/to/pg_config picks an installed PostgreSQL instead.  Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. test/lib/setup.sh

major=""
only=""
while [ $# -gt 0 ]; do
    case $1 in
        --pg) major=$2; shift 2 ;;
        --only) only=$2; shift 2 ;;
        *) echo "unknown argument: $1" >&2; exit 2 ;;
    esac
done

if [ -n "$major" ]; then
    pgs_install_newer_server "$major"
elif [ -z "${PG_CONFIG:-}" ]; then
    pgs_install_debian_server test
fi
pgs_build
pgs_start_cluster "test-${major:-default}"

passed=0
failed=0
count() {   # name passed failed
    echo "== $1: $2 passed, $3 failed"
    passed=$((passed + $2))
    failed=$((failed + $3))
}
wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# pg_regress and the isolation tester say "ok 1  - name" (16 and newer) or "test name ... ok"
count_regress() {   # suite log
    local good bad
    good=$(grep -cE '^ok |^test .* ok( |$)' "$2" || true)
    bad=$(grep -cE '^not ok |^test .* FAILED' "$2" || true)
    if [ "$bad" -gt 0 ]; then
        cat "$3" 2>/dev/null || true
    elif [ "$good" -eq 0 ]; then
        cat "$2"
        bad=1
    fi
    count "$1" "$good" "$bad"
}

if wanted regress; then
    pgs_as_user make -s installcheck PG_CONFIG="$PG_CONFIG" ISOLATION= > "$PGS_WORK/regress.log" 2>&1 || true
    count_regress regress "$PGS_WORK/regress.log" regression.diffs
fi
if wanted isolation && ls test/specs/*.spec > /dev/null 2>&1; then
    pgs_as_user make -s installcheck PG_CONFIG="$PG_CONFIG" REGRESS= > "$PGS_WORK/isolation.log" 2>&1 || true
    count_regress isolation "$PGS_WORK/isolation.log" regression.diffs
fi
if wanted pgtap && ls test/pgtap/*.sql > /dev/null 2>&1; then
    . test/lib/pgtap.sh
fi
if wanted restart && ls test/t/*.py > /dev/null 2>&1; then
    pgs_pytest restart test/t
fi
if wanted dbt && ls test/dbt/*.py > /dev/null 2>&1; then
    pgs_pytest dbt test/dbt
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
