"""The scheduler: it refreshes, backs off, suspends, resumes, survives a restart and a crash, and goes away."""
import time

SCHEDULER = "dbt_pgstream scheduler"


def schedulers(c, dbname="postgres"):
    return c.value(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}' AND datname = '{dbname}'")


def prepare(c, dbname="postgres"):
    c("CREATE EXTENSION dbt_pgstream", dbname)
    c("CREATE TABLE src (id int PRIMARY KEY, v int); INSERT INTO src SELECT i, i FROM generate_series(1, 10) i", dbname)


def test_without_preload(make_cluster):
    c = make_cluster(preload=False)
    prepare(c)
    connection = c.connect()
    connection.cursor().execute("SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', '200ms')")
    assert any("shared_preload_libraries" in n for n in connection.notices)
    c("INSERT INTO src VALUES (11, 11)")
    c.until("SELECT count(*) FROM st", 11)
    assert schedulers(c) == 1
    # in its own transaction per round, as the scheduler
    assert c.value("SELECT initiated_by FROM dbt_pgstream.get_refresh_history('st', 1)") == "SCHEDULER"
    # after a restart nothing runs, and explain says why; the next change of a stream table starts it again
    c.restart()
    time.sleep(1)
    assert schedulers(c) == 0
    assert "not running" in c.value("SELECT value FROM dbt_pgstream.explain_st('st') WHERE property = 'scheduler'")
    c("INSERT INTO src VALUES (12, 12)")
    c("SELECT dbt_pgstream.alter_stream_table('st', schedule => '250ms')")
    c.until("SELECT count(*) FROM st", 12)
    # nothing scheduled any more: it goes, and DROP DATABASE isn't held up
    c("SELECT dbt_pgstream.alter_stream_table('st', schedule => 'manual')")
    c.until(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'", 0)


def test_restart_with_preload_and_several_databases(make_cluster):
    c = make_cluster(settings=["dbt_pgstream.launcher_naptime = 1"])
    c("CREATE DATABASE other")
    c("CREATE DATABASE without")
    for db in ("postgres", "other"):
        prepare(c, db)
        c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT count(*) AS n FROM src', '200ms')", db)
    c.restart()
    for db in ("postgres", "other"):
        c("DELETE FROM src WHERE id > 5", db)
        c.until("SELECT n FROM st", 5, dbname=db)
        assert c.right("st", db)
    # switched off and on
    c("ALTER SYSTEM SET dbt_pgstream.scheduler = off")
    c("SELECT pg_reload_conf()")
    c.until(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}'", 0)
    c("DELETE FROM src")
    time.sleep(0.7)
    assert c.value("SELECT n FROM st") == 5
    c("ALTER SYSTEM RESET dbt_pgstream.scheduler")
    c("SELECT pg_reload_conf()")
    c.until("SELECT n FROM st", 0)
    # a terminated scheduler comes back; a database can be dropped by force
    c(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}' AND datname = 'postgres'")
    c("INSERT INTO src VALUES (1, 1)")
    c.until("SELECT n FROM st", 1)
    c("DROP DATABASE other WITH (FORCE)")
    c("DROP EXTENSION dbt_pgstream CASCADE")
    c.until(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = '{SCHEDULER}' AND datname = 'postgres'", 0)


def test_failing_table_holds_up_no_other(make_cluster):
    c = make_cluster(settings=["dbt_pgstream.retry_base = '100ms'", "dbt_pgstream.max_consecutive_errors = 3"])
    prepare(c)
    c("SELECT dbt_pgstream.create_stream_table('good', 'SELECT id FROM src', '100ms')")
    c("SELECT dbt_pgstream.create_stream_table('bad', 'SELECT 1 / v AS q FROM src', '100ms')")
    c("SELECT dbt_pgstream.create_stream_table('reads_both', 'SELECT (SELECT count(*) FROM good) AS g, (SELECT count(*) FROM bad) AS b', 'calculated')")
    c("SELECT dbt_pgstream.create_stream_table('driver', 'SELECT g, b FROM reads_both', '100ms')")
    c("INSERT INTO src VALUES (11, 0)")
    c.until("SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'bad'", "SUSPENDED")
    c.until("SELECT count(*) FROM good", 11)
    c.until("SELECT g FROM driver", 11)
    history = c("SELECT status, error_message, start_time FROM dbt_pgstream.get_refresh_history('bad', 10) WHERE status = 'FAILED' ORDER BY start_time")
    assert [h[1] for h in history] == ["division by zero"] * 3
    # each try waited for the back-off, which doubles: 100 ms, then 200 ms
    assert (history[1][2] - history[0][2]).total_seconds() >= 0.1 and (history[2][2] - history[1][2]).total_seconds() >= 0.2
    assert c.value("SELECT count(*) FROM bad") == 10
    # suspended: not tried again, until resumed
    c("UPDATE src SET v = 1 WHERE id = 11")
    time.sleep(0.5)
    assert c.value("SELECT count(*) FROM bad") == 10
    c("SELECT dbt_pgstream.alter_stream_table('bad', status => 'ACTIVE')")
    c.until("SELECT count(*) FROM bad", 11)
    c("SELECT dbt_pgstream.alter_stream_table(n, status => 'PAUSED') FROM unnest(ARRAY['good', 'bad', 'reads_both', 'driver']) n")
    c("DELETE FROM src")
    time.sleep(0.5)
    assert c.value("SELECT count(*) FROM good") == 11
    c("SELECT dbt_pgstream.alter_stream_table(n, status => 'ACTIVE') FROM unnest(ARRAY['good', 'bad', 'reads_both', 'driver']) n")
    c.until("SELECT g + b FROM driver", 0)
    for name in ("good", "bad", "reads_both", "driver"):
        assert c.right(name)


def test_runs_as_owner(make_cluster):
    c = make_cluster()
    prepare(c)
    c("CREATE ROLE ada; GRANT ALL ON SCHEMA public TO ada")
    c("SET ROLE ada; CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';"
      "CREATE TABLE tick (n int); SELECT dbt_pgstream.create_stream_table('whoami', 'SELECT public.who() AS w, n FROM tick', '100ms', 'FULL')")
    c("INSERT INTO tick VALUES (1)")
    c.until("SELECT w FROM whoami WHERE n = 1", "ada")


def test_drop_extension_while_the_scheduler_works(make_cluster):
    c = make_cluster(settings=["deadlock_timeout = '50ms'"])
    c("CREATE TABLE src (id int PRIMARY KEY, v int); INSERT INTO src SELECT i, i FROM generate_series(1, 1000) i")
    for round_ in range(15):
        c("CREATE EXTENSION dbt_pgstream")
        for i in range(4):
            c(f"SELECT dbt_pgstream.create_stream_table('st{i}', 'SELECT id + {i} AS id FROM src', '1ms')")
        c.until("SELECT min(total_refreshes) > 2 FROM dbt_pgstream.pg_stat_stream_tables", True)
        c("DROP EXTENSION dbt_pgstream CASCADE")
        assert c.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'st_' OR relname LIKE 'q\\_%'") == 0
    assert "deadlock" not in c.log() and "PANIC" not in c.log()


def test_idle_rounds_compute_nothing(make_cluster):
    """Capture triggers are attached by the scheduler; from then on a round without changes leaves the query alone."""
    c = make_cluster()
    prepare(c)
    c("CREATE SEQUENCE calls; CREATE FUNCTION tick(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM nextval('public.calls'); RETURN $1; END$$")
    c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT tick(id) AS id, v FROM src', '50ms')")
    c.until("SELECT cdc_mode FROM dbt_pgstream.pgs_dependencies", "TRIGGER")
    rounds = "SELECT total_refreshes FROM dbt_pgstream.pg_stat_stream_tables"
    c.until(f"SELECT ({rounds}) > {c.value(rounds) + 3}", True)     # one more with the trigger there
    before = c.value("SELECT last_value FROM calls")
    c.until(f"SELECT ({rounds}) > {c.value(rounds) + 10}", True)
    assert c.value("SELECT last_value FROM calls") == before
    c("INSERT INTO src VALUES (50, 50)")
    c.until("SELECT count(*) FROM st WHERE id = 50", 1)
    assert c.value("SELECT last_value FROM calls") > before
    # the last stream table on it goes: so does the trigger
    c("CREATE TABLE src2 (id int); SELECT dbt_pgstream.create_stream_table('other', 'SELECT id FROM src2', '50ms'); DROP TABLE st")
    c.until("SELECT array_agg(DISTINCT tgrelid::regclass::text) FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%'", ["src2"])


def test_history_is_pruned_and_idle_rounds_are_not_kept(make_cluster):
    c = make_cluster(settings=["dbt_pgstream.history_retention = 0"])
    prepare(c)
    c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT id FROM src', '50ms')")
    c.until("SELECT total_refreshes > 20 FROM dbt_pgstream.pg_stat_stream_tables", True)
    assert c.value("SELECT count(*) FROM dbt_pgstream_internal.history") <= 3


def test_locks_of_others_are_not_waited_for(make_cluster):
    """A table that DDL holds is left for later, and the others go on."""
    c = make_cluster()
    prepare(c)
    c("CREATE TABLE src2 (id int)")
    c("SELECT dbt_pgstream.create_stream_table('held', 'SELECT id FROM src', '100ms')")
    c("SELECT dbt_pgstream.create_stream_table('free', 'SELECT id FROM src2', '100ms')")
    holder = c.connect()
    holder.autocommit = False
    cursor = holder.cursor()
    cursor.execute("LOCK TABLE src IN ACCESS EXCLUSIVE MODE")
    c("INSERT INTO src2 VALUES (1)")
    c.until("SELECT count(*) FROM free", 1)
    assert c.value("SELECT consecutive_errors FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'held'") == 0
    cursor.execute("INSERT INTO src VALUES (100, 100)")
    holder.commit()
    c.until("SELECT count(*) FROM held", 11)


def test_a_commit_wakes_the_scheduler(make_cluster):
    """A schedule of less than a second is followed at once when something changes, and costs a look a second when nothing does."""
    c = make_cluster()
    prepare(c)
    c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', 'calculated')")
    c("SELECT dbt_pgstream.create_stream_table('on_st', 'SELECT sum(v) AS s FROM st', '10ms')")
    c.until("SELECT bool_and(eager) AND count(*) = 2 FROM dbt_pgstream_internal.source", True)
    for i in range(20, 30):
        c(f"INSERT INTO src VALUES ({i}, {i})")
        c.until("SELECT count(*) FROM st", i - 9)
        c.until("SELECT s FROM on_st", sum(range(1, 11)) + sum(range(20, i + 1)))
    before = c.value("SELECT total_refreshes FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'st'")
    time.sleep(3)
    idle = c.value("SELECT total_refreshes FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'st'") - before
    assert idle <= 6, f"{idle} refreshes of a database where nothing happens"
    assert c.right("st") and c.right("on_st")


def test_settings_of_the_database_do_not_stop_it(make_cluster):
    c = make_cluster()
    prepare(c)
    settings = ("default_transaction_isolation = 'serializable'", "default_transaction_read_only = on", "lock_timeout = '1ms'")
    c("; ".join(f"ALTER DATABASE postgres SET {setting}" for setting in settings))
    session = "SET default_transaction_read_only = off; SET lock_timeout = 0;"
    c(f"{session} BEGIN READ WRITE; SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', '100ms'); COMMIT")
    c.until(f"{session} SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'dbt_pgstream scheduler'", True)
    c(f"{session} BEGIN READ WRITE; INSERT INTO src VALUES (50, 50); COMMIT")
    c.until(f"{session} SELECT count(*) FROM st", 11)


def test_manual_ones_are_captured_too(make_cluster):
    c = make_cluster(preload=False)
    prepare(c)
    c("SELECT dbt_pgstream.create_stream_table('st', 'SELECT sum(v) AS s FROM src', NULL)")
    c.until("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%'", 4)
    c("SELECT dbt_pgstream.refresh_stream_table('st')")
    c("INSERT INTO src VALUES (50, 50)")
    c("SELECT dbt_pgstream.refresh_stream_table('st')")
    assert c.value("SELECT action FROM dbt_pgstream.get_refresh_history('st', 1)") == "DIFFERENTIAL"
    assert c.right("st")
    c.until("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dbt_pgstream scheduler'", 0)
