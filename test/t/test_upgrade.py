"""pg_upgrade, from a cluster of the same major (which takes the very same way): catalogs, queries, triggers and marks go along."""
from conftest import BIN, as_server


def test_pg_upgrade(make_cluster):
    old = make_cluster(settings=["dbt_pgstream.scheduler = off"])
    old("CREATE EXTENSION dbt_pgstream; CREATE TABLE src (id int PRIMARY KEY, g int); INSERT INTO src SELECT i, i % 3 FROM generate_series(1, 30) i")
    old("SELECT dbt_pgstream.create_stream_table('st', 'SELECT g, count(*) AS n FROM src GROUP BY g', '100ms')")
    old("SELECT dbt_pgstream.create_stream_table('down', 'SELECT sum(n) AS n FROM st', 'calculated')")
    old("SELECT dbt_pgstream_internal.maintain_capture()")
    old("SELECT dbt_pgstream.refresh_all()")
    old("INSERT INTO src VALUES (31, 5)")
    old.stop()
    new = make_cluster(start=False)
    as_server("sh", "-c", f"cd {new.dir} && {BIN}/pg_upgrade -b {BIN} -B {BIN} -d {old.data} -D {new.data} -U postgres -p 50432 -P 50433 -s {new.dir}"
              f" || {{ grep -h -B2 -A3 ERROR {new.data}/pg_upgrade_output.d/*/log/*.log; exit 1; }}")
    new.start()
    new.until("SELECT count(*) FROM st", 4)      # scheduled there, too; and the pending change is found
    new("INSERT INTO src VALUES (32, 6)")
    new.until("SELECT count(*) FROM st", 5)
    new("SELECT dbt_pgstream.refresh_all()")
    assert new.right("st") and new.right("down")
    new("DROP EXTENSION dbt_pgstream CASCADE")
    assert new.value("SELECT to_regclass('st') IS NULL")
