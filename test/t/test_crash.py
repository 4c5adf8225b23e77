"""kill -9, restart, failover, dump and restore: nothing lost, and right after the next refresh."""
import random
import subprocess
import threading

import psycopg2
from conftest import BIN, as_server

SCHEDULER = "dbt_pgstream scheduler"


def prepare(c):
    c("CREATE EXTENSION dbt_pgstream")
    c("CREATE TABLE src (id int PRIMARY KEY, g int, v int); INSERT INTO src SELECT i, i % 10, i FROM generate_series(1, 1000) i")
    c("SELECT dbt_pgstream.create_stream_table('rows', 'SELECT id, g, v FROM src', '20ms')")
    c("CREATE UNIQUE INDEX ON rows (id)")
    c("SELECT dbt_pgstream.create_stream_table('groups', 'SELECT g, sum(v) AS s, count(*) AS n FROM rows GROUP BY g', '20ms')")
    c("CREATE TABLE dim (g int PRIMARY KEY, name text); INSERT INTO dim SELECT i, 'n' || i % 4 FROM generate_series(0, 11) i")
    c("SELECT dbt_pgstream.create_stream_table('joined', 'SELECT d.name, sum(s.v) AS s, max(s.v) AS m, count(DISTINCT s.id) AS n FROM src s JOIN dim d USING (g) GROUP BY d.name', '20ms')")


    # states of the other kind: several rows for a key
    c("SELECT dbt_pgstream.create_stream_table('ranked', 'SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY v, id) AS n FROM src', '20ms')")
    c("SELECT dbt_pgstream.create_stream_table('top', 'SELECT id, v FROM rows ORDER BY v DESC, id LIMIT 10', '20ms')")
    c("SELECT dbt_pgstream.create_stream_table('asked', 'SELECT g, (SELECT max(v) FROM src WHERE src.g = d.g) AS m FROM dim d WHERE NOT EXISTS (SELECT FROM src WHERE src.g = d.g AND v % 7 = 3)', '20ms')")


def check(c):
    c("SELECT dbt_pgstream.refresh_all()")
    for name in ("rows", "groups", "joined", "ranked", "top", "asked"):
        assert c.right(name), name
    # by its changes, not because somebody noticed and computed the whole
    assert not c("SELECT reason FROM dbt_pgstream.pgs_refresh_history WHERE reason LIKE 'repaired%'")
    # one snapshot: the parts agree with their total
    assert c.value("SELECT (SELECT sum(v) FROM rows) IS NOT DISTINCT FROM (SELECT sum(s) FROM groups)")


class Writers:
    """Sessions that go on writing whatever happens to the server."""

    def __init__(self, cluster, n=4):
        self.cluster = cluster
        self.stop = threading.Event()
        self.commits = 0
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(n)]
        for t in self.threads:
            t.start()

    def write(self, seed):
        rnd = random.Random(seed)
        connection = None
        while not self.stop.is_set():
            try:
                if connection is None:
                    connection = self.cluster.connect()
                    connection.autocommit = False
                cursor = connection.cursor()
                for _ in range(rnd.randint(1, 5)):
                    i = rnd.randint(1, 1500)
                    cursor.execute(rnd.choice([
                        f"UPDATE src SET v = v + 1, g = {i % 12} WHERE id = {i}",
                        f"DELETE FROM src WHERE id = {i}",
                        f"INSERT INTO src VALUES ({i}, {i % 10}, {i}) ON CONFLICT (id) DO UPDATE SET v = src.v + 1",
                        f"SAVEPOINT s; DELETE FROM src WHERE id < {i // 10}; ROLLBACK TO s",
                    ]))
                if rnd.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()
                    self.commits += 1
            except psycopg2.Error:
                if connection is not None:
                    try:
                        connection.rollback()
                    except psycopg2.Error:
                        connection = None

    def join(self):
        self.stop.set()
        for t in self.threads:
            t.join()


def test_kill_9_in_a_loop(make_cluster):
    c = make_cluster()
    prepare(c)
    writers = Writers(c)
    try:
        for round_ in range(4):
            before = c.retried("SELECT total_refreshes FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'groups'")
            c.until(f"SELECT total_refreshes > {before + 3} FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'groups'", True)
            c.until(f"SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'", True)
            if round_ % 2 == 0:
                assert c.kill(SCHEDULER) >= 1            # the postmaster restarts everything
                c.until("SELECT 1", 1)
            else:
                c.kill_postmaster()
                c.start()
    finally:
        writers.join()
    assert writers.commits > 50
    check(c)
    # and goes on by itself
    c("INSERT INTO src VALUES (9999, 99, 9999)")
    c.until("SELECT s FROM groups WHERE g = 99", 9999)


def test_crash_restarts_the_scheduler_without_preload(make_cluster):
    c = make_cluster(preload=False)
    prepare(c)
    c.until(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'", 1)
    assert c.kill(SCHEDULER) == 1
    c.until(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'", 1)
    c("DELETE FROM src WHERE g = 3")
    c.until("SELECT count(*) FROM groups", 9)
    check(c)


def test_four_writers_and_the_scheduler(make_cluster):
    """Interleaved commits and refreshes all the time; then stop: every group is right."""
    c = make_cluster()
    prepare(c)
    # triggers are attached in a moment without writers, and there will be none
    captured = "SELECT bool_and(cdc_mode = 'TRIGGER') FROM dbt_pgstream.pgs_dependencies WHERE source_relid = 'src'::regclass"
    c.until(captured, True)
    writers = Writers(c)
    try:
        c.until("SELECT total_refreshes > 60 FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'groups'", True)
    finally:
        writers.join()
    assert c.value(captured)
    # the scheduler alone, by its marks: nothing was missed
    c("SELECT dbt_pgstream.alter_stream_table(n, status => 'PAUSED') FROM unnest(ARRAY['rows', 'groups']) n")
    c("SELECT dbt_pgstream.refresh_stream_table(n) FROM unnest(ARRAY['rows', 'groups']) n")
    assert c.right("rows") and c.right("groups") and c.right("joined")
    # by its changes, not because somebody noticed and computed the whole
    assert not c("SELECT reason FROM dbt_pgstream.pgs_refresh_history WHERE reason LIKE 'repaired%'")
    check(c)
    assert c.value("SELECT count(*) FROM dbt_pgstream_internal.history WHERE status <> 'COMPLETED'") == 0


def test_restore_with_changes_pending(make_cluster):
    """A frontier means nothing in a restored database: what had changed before the dump, and was not refreshed, is found."""
    c = make_cluster(preload=False, settings=["dbt_pgstream.scheduler = off"])
    c("CREATE EXTENSION dbt_pgstream; CREATE TABLE src (id int); INSERT INTO src VALUES (1)")
    c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT id FROM src', '1d')")
    assert c.value("SELECT dbt_pgstream_internal.maintain_capture()")
    c("SELECT dbt_pgstream.refresh_stream_table('st')")
    assert c.value("SELECT frontier IS NOT NULL FROM dbt_pgstream_internal.stream")
    c("INSERT INTO src VALUES (2)")
    dump = as_server(f"{BIN}/pg_dump", "-h", str(c.dir), "-p", "5432", "-U", "postgres", "postgres").stdout
    other = make_cluster(preload=False, settings=["dbt_pgstream.scheduler = off"])
    other("SELECT txid_current() FROM generate_series(1, 10)")
    # into another cluster, and into another database of the same
    c("CREATE DATABASE copy")
    for cluster, db in ((other, "postgres"), (c, "copy")):
        subprocess.run([f"{BIN}/psql", "-qX", "-h", str(cluster.dir), "-p", "5432", "-U", "postgres", "-d", db], input=dump, text=True, check=True, capture_output=True)
        assert cluster.value("SELECT count(*) FROM st", db) == 1
        cluster("SELECT dbt_pgstream.refresh_stream_table('st')", db)
        assert cluster.value("SELECT count(*) FROM st", db) == 2 and cluster.right("st", db)
        cluster("INSERT INTO src VALUES (3)", db)
        cluster("SELECT dbt_pgstream.refresh_stream_table('st')", db)
        assert cluster.right("st", db)
        cluster("SELECT dbt_pgstream.refresh_stream_table('st')", db)
        assert cluster.right("st", db)


def test_standby_and_promotion(make_cluster):
    primary = make_cluster(settings=["wal_level = replica", "dbt_pgstream.launcher_naptime = 1"])
    prepare(primary)
    standby = make_cluster(base_of=primary, preload=False)
    primary("DELETE FROM src WHERE g = 7")
    primary.until("SELECT count(*) FROM groups", 9)
    standby.until("SELECT count(*) FROM groups", 9)
    assert standby.value(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'") == 0
    primary.stop("immediate")
    standby.promote()
    standby("DELETE FROM src WHERE g = 8")
    standby.until("SELECT count(*) FROM groups", 8)
    check(standby)


def test_dump_and_restore(make_cluster):
    c = make_cluster()
    prepare(c)
    c("CREATE ROLE ada; ALTER TABLE rows OWNER TO ada; GRANT SELECT ON src TO ada")
    c("INSERT INTO src VALUES (5000, 1, 1)")
    c("SELECT dbt_pgstream.refresh_all()")
    other = make_cluster()
    dump = as_server(f"{BIN}/pg_dumpall", "-h", str(c.dir), "-p", "5432", "-U", "postgres").stdout
    subprocess.run([f"{BIN}/psql", "-qX", "-h", str(other.dir), "-p", "5432", "-U", "postgres"], input=dump, text=True, check=True, capture_output=True)
    assert other.value("SELECT count(*) FROM rows") == 1001
    assert other("SELECT pgs_name, status, owner::text FROM dbt_pgstream.pgs_stream_tables ORDER BY 1") == [
        ("asked", "ACTIVE", "postgres"), ("groups", "ACTIVE", "postgres"), ("joined", "ACTIVE", "postgres"), ("ranked", "ACTIVE", "postgres"),
        ("rows", "ACTIVE", "ada"), ("top", "ACTIVE", "postgres")]
    assert other.value("SELECT count(*) > 2 FROM dbt_pgstream.get_refresh_history('rows')")
    other("DELETE FROM src WHERE g = 4")
    other.until("SELECT count(*) FROM groups", 9)       # scheduled there, too
    check(other)
    other("SELECT dbt_pgstream.create_stream_table('one_more', 'SELECT 1 AS x', NULL)")
    try:
        other("DELETE FROM rows")
        raise AssertionError("the guard is gone")
    except psycopg2.Error as e:
        assert "cannot change stream table" in str(e)
    # DROP EXTENSION still knows of its stream tables
    other.until("SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'n' AND classid = 'pg_class'::regclass", 7)
    other("DROP EXTENSION dbt_pgstream CASCADE")
    assert other.value("SELECT to_regclass('rows') IS NULL")
