"""dbt with many threads against a living scheduler and writers: models rebuilt, altered, swapped, while everything is being refreshed."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

from test_crash import Writers

PACKAGE = Path(__file__).resolve().parents[2] / "dbt_package"
N = 8


def model(i, variant):
    upstream = f"{{{{ ref('st{i - 1}') }}}}" if i % 4 else "{{ ref('swapped') }}" if i == 4 else "{{ ref('stg') }}"
    columns = "id, g, v" if variant < 2 or i % 2 else "id, g, v, v * 2 as w"
    where = f" where v <> -{variant}" if variant % 2 else ""
    return f"{{{{ config(materialized='stream_table', schedule='50ms', indexes=[{{'columns': ['id']}}]) }}}} select {columns} from {upstream}{where}"


def test_runs_against_a_living_database(make_cluster, tmp_path):
    c = make_cluster(settings=["deadlock_timeout = '100ms'"])
    c("CREATE EXTENSION dbt_pgstream; CREATE TABLE src (id int PRIMARY KEY, g int, v int); INSERT INTO src SELECT i, i % 10, i FROM generate_series(1, 500) i")
    models = tmp_path / "models"
    models.mkdir()
    shutil.copytree(PACKAGE, tmp_path / "dbt_packages" / "dbt_pgstream")
    (tmp_path / "dbt_project.yml").write_text("name: live\nversion: 1.0.0\nconfig-version: 2\nprofile: live\n")
    (tmp_path / "profiles.yml").write_text(f"live: {{target: dev, outputs: {{dev: {{type: postgres, host: {c.dir}, port: 5432, user: postgres, pass: '', "
                                           "dbname: postgres, schema: live, threads: 8}}}\n")
    (models / "stg.sql").write_text("select * from public.src")
    (models / "swapped.sql").write_text("{{ config(materialized='table') }} select * from public.src")
    dbt = str(Path(sys.executable).parent / "dbt")
    writers = Writers(c)
    try:
        for variant in (0, 0, 1, 2, 3, 3):
            for i in range(N):
                (models / f"st{i}.sql").write_text(model(i, variant))
            done = subprocess.run([dbt, "--no-use-colors", "run", "--profiles-dir", "."], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-4000:] + c.log()[-3000:]
    finally:
        writers.join()
    c("SELECT dbt_pgstream.refresh_all()")
    for i in range(N):
        assert c.right(f"live.st{i}"), i
    # writers that lock rows in random order may meet each other; refreshes and DDL meet nobody
    assert not re.search(r"waits for \w+ on (relation|object|advisory)", c.log()) and "PANIC" not in c.log()
    assert c.value("SELECT count(*) FROM dbt_pgstream.pgs_stream_tables WHERE status <> 'ACTIVE'") == 0
