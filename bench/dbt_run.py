#!/usr/bin/env python3
"""What a dbt run costs over N unchanged stream tables, as a ratio against N models of dbt's own 'view'.

    bash bench/run.sh dbt_run [models] [rounds]

Both projects have the same SELECTs over the same tables; the runs alternate, one thread each, and each ratio is of the median
wall-clock times of whole "dbt run" processes in this very run.  A project of the same size with dbt's 'table' gives a second baseline.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
N = int(sys.argv[1]) if len(sys.argv) > 1 else 200
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
KINDS = ["view", "stream_table", "table"]


def make_project(base, kind):
    project = base / kind
    (project / "models").mkdir(parents=True)
    (project / "dbt_packages").mkdir()
    (project / "dbt_packages" / "dbt_pgstream").symlink_to(ROOT / "dbt_package")
    (project / "dbt_project.yml").write_text(
        f"name: bench\nversion: 1.0.0\nconfig-version: 2\nprofile: bench\nflags: {{send_anonymous_usage_stats: false}}\nmodels:\n  bench:\n    +materialized: {kind}\n    +schedule: 1d\n")
    (project / "profiles.yml").write_text(
        f"bench:\n  target: dev\n  outputs:\n    dev: {{type: postgres, host: {os.environ['PGHOST']}, port: {os.environ['PGPORT']}, "
        f"user: {os.environ['PGUSER']}, pass: '', dbname: {os.environ['PGDATABASE']}, schema: bench_{kind}, threads: 1}}\n")
    for i in range(N):
        (project / "models" / f"m{i}.sql").write_text(f"select g, sum(v) + {i} as s, count(*) as n from public.bench_src where g <> {i} group by g\n")
    return project


def run(project):
    start = time.monotonic()
    subprocess.run([os.environ["DBT"], "--quiet", "run", "--profiles-dir", "."], cwd=project, check=True)
    return time.monotonic() - start


def main():
    subprocess.run(["psql", "-qX", "-c", "create table if not exists bench_src as select i % 100 as g, i as v from generate_series(1, 1000) i"], check=True)
    with tempfile.TemporaryDirectory() as base:
        projects = {kind: make_project(Path(base), kind) for kind in KINDS}
        times = {kind: [] for kind in KINDS}
        for kind in KINDS:
            run(projects[kind])     # creates them all, and fills dbt's partial parse
        for _ in range(ROUNDS):
            for kind in KINDS:
                times[kind].append(run(projects[kind]))
        actions = json.loads((projects["stream_table"] / "target" / "run_results.json").read_text())["results"]
        assert all(r["message"].startswith("UNCHANGED") for r in actions), "not all unchanged"
    medians = {kind: statistics.median(t) for kind, t in times.items()}
    print(json.dumps({"bench": "dbt_run", "models": N, "rounds": ROUNDS, "seconds": {k: round(v, 2) for k, v in medians.items()},
                      "stream_table/view": round(medians["stream_table"] / medians["view"], 2),
                      "stream_table/table": round(medians["stream_table"] / medians["table"], 2)}))


main()
