"""Sources that a subscription writes to: row by row, past statement triggers, and at its beginning by COPY; real logical replication."""

TABLES = """CREATE TABLE plain (id int PRIMARY KEY, g int, v int, unused text);
    CREATE TABLE parts (id int PRIMARY KEY, g int) PARTITION BY RANGE (id);
    CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts2 (g int, id int NOT NULL);
    ALTER TABLE parts ATTACH PARTITION parts2 FOR VALUES FROM (100) TO (1000);"""


def maintain(cluster):
    while cluster.value("SELECT dbt_pgstream_internal.maintain_capture()"):
        pass


def caught_up(publisher, subscriber):
    """Wait until the subscriber has what the publisher has."""
    for table in ("plain", "parts"):
        state = f"SELECT md5(string_agg(id || ':' || coalesce(g, -1), ',' ORDER BY id)) FROM {table}"
        subscriber.until(state, publisher.value(state))


def refreshed(cluster):
    """What a refresh of each stream table did, each being right."""
    result = {}
    for name in ("by_g", "joined", "routed"):
        cluster(f"SELECT dbt_pgstream.refresh_stream_table('{name}')")
        assert cluster.right(name), name
        result[name] = cluster.value(f"SELECT last_action FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = '{name}'")
    return result


def test_subscription(make_cluster):
    publisher = make_cluster(preload=False, settings=["wal_level = logical"])
    subscriber = make_cluster(settings=["dbt_pgstream.scheduler = off", "wal_retrieve_retry_interval = 200ms"])
    publisher(TABLES + """INSERT INTO plain SELECT i, i % 3, i FROM generate_series(1, 30) i; INSERT INTO parts SELECT i * 10, i % 4 FROM generate_series(1, 30) i;
        CREATE PUBLICATION p FOR TABLE plain, parts WITH (publish_via_partition_root = true)""")
    subscriber("CREATE EXTENSION dbt_pgstream;" + TABLES)
    subscriber("ALTER SYSTEM SET dbt_pgstream.full_refresh_factor = 1e9")
    subscriber("SELECT pg_reload_conf()")
    subscriber("SELECT dbt_pgstream.create_stream_table('by_g', 'SELECT g, count(*) AS n, sum(v) AS s FROM plain GROUP BY g', NULL)")
    subscriber("SELECT dbt_pgstream.create_stream_table('joined', 'SELECT plain.id, parts.g FROM plain JOIN parts ON parts.id = plain.id * 10', NULL)")
    subscriber("SELECT dbt_pgstream.create_stream_table('routed', 'SELECT g, count(*) AS n FROM parts GROUP BY g', NULL)")
    maintain(subscriber)
    refreshed(subscriber)

    # before it is attached: a reason to compute, even if the subscription goes again before anybody looks
    subscriber(f"CREATE SUBSCRIPTION s CONNECTION 'host={publisher.dir} port=5432 dbname=postgres user=postgres' PUBLICATION p")
    caught_up(publisher, subscriber)
    assert "subscription" in subscriber.value("SELECT value FROM dbt_pgstream.explain_st('by_g') WHERE property = 'capture'")
    assert set(refreshed(subscriber).values()) == {"FULL"}
    publisher("UPDATE plain SET v = v + 1 WHERE id = 3; UPDATE parts SET g = 9 WHERE id = 30")
    caught_up(publisher, subscriber)
    maintain(subscriber)
    assert subscriber.value("SELECT value FROM dbt_pgstream.explain_st('by_g') WHERE property = 'capture'").startswith("complete")
    # what came before the trigger passed it by
    assert set(refreshed(subscriber).values()) == {"FULL"}

    for change in ("INSERT INTO plain VALUES (100, 7, 1), (101, NULL, 2); INSERT INTO parts VALUES (5, 1), (500, 2)",
                   "UPDATE plain SET g = g + 1, v = NULL WHERE id % 4 = 0; UPDATE parts SET g = g + 1 WHERE id > 150",
                   "DELETE FROM plain WHERE id < 9; DELETE FROM parts WHERE id IN (50, 250)",
                   # from one partition to the other, and a key that comes and goes
                   "UPDATE parts SET id = id + 400, g = 8 WHERE id = 60; INSERT INTO plain VALUES (200, 5, 5)",
                   "UPDATE plain SET id = 201, g = 6 WHERE id = 200; DELETE FROM parts WHERE id = 460"):
        publisher("BEGIN;" + change + "; COMMIT")
        caught_up(publisher, subscriber)
        done = refreshed(subscriber)
        assert set(done.values()) <= {"DIFFERENTIAL", "NO_DATA"} and "DIFFERENTIAL" in done.values(), (change, done)
    pending = subscriber.value("SELECT sum(pending_rows) FROM dbt_pgstream.check_cdc_health()")

    # columns that nobody uses; and local writers beside it, also such as say that they are replicas
    publisher("UPDATE plain SET unused = 'x' WHERE id > 20")
    subscriber.until("SELECT count(*) > 0 FROM plain WHERE unused = 'x'")
    assert subscriber.value("SELECT sum(pending_rows) FROM dbt_pgstream.check_cdc_health()") == pending
    subscriber("INSERT INTO plain VALUES (1000, 1, 1); SET session_replication_role = replica; INSERT INTO plain VALUES (1001, 1, 1); DELETE FROM parts WHERE id = 70")
    done = refreshed(subscriber)
    assert done["by_g"] == done["routed"] == "DIFFERENTIAL"

    # one that copies again, with the trigger there; TRUNCATE
    publisher("TRUNCATE plain; INSERT INTO plain SELECT i, i % 5, i FROM generate_series(1, 20) i")
    subscriber("DELETE FROM plain WHERE id >= 1000")
    subscriber.until("SELECT count(*) = 20 FROM plain")
    refreshed(subscriber)
    publisher("ALTER PUBLICATION p DROP TABLE plain")
    subscriber("ALTER SUBSCRIPTION s REFRESH PUBLICATION")
    subscriber("DELETE FROM plain")
    publisher("ALTER PUBLICATION p ADD TABLE plain")
    refreshed(subscriber)
    subscriber("ALTER SUBSCRIPTION s REFRESH PUBLICATION")
    subscriber.until("SELECT count(*) = 20 FROM plain")
    refreshed(subscriber)
    publisher("UPDATE plain SET g = 3 WHERE id < 5")
    subscriber.until("SELECT count(*) FROM plain WHERE g = 3", publisher.value("SELECT count(*) FROM plain WHERE g = 3"))
    assert refreshed(subscriber)["by_g"] == "DIFFERENTIAL"
    subscriber("DROP SUBSCRIPTION s")
    subscriber("UPDATE plain SET g = 4 WHERE id = 1")
    refreshed(subscriber)
