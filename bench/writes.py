#!/usr/bin/env python3
"""What capture costs a writer, as a ratio against the same table without a capture trigger, in the same run.

    bash bench/run.sh writes

Bulk statements of 100,000 rows, and single-row transactions (fsync off); the two tables take turns.
"""
import json
import os
import statistics
import time

import psycopg2

ROWS, SINGLES, ROUNDS = 100_000, 2_000, 7


def main():
    connection = psycopg2.connect(host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"], dbname=os.environ["PGDATABASE"])
    connection.autocommit = True
    cursor = connection.cursor()
    for table in ("plain", "captured"):
        cursor.execute(f"create table {table} (id int primary key, v int)")
    cursor.execute("select dbt_pgstream.create_stream_table('st', 'select count(*) as n from captured', '1d')")
    cursor.execute("select dbt_pgstream_internal.maintain_capture()")
    cursor.execute("select count(*) from pg_trigger where tgname like 'pgstream_capture%'")
    assert cursor.fetchone()[0] > 0

    def timed(statement, times=1):
        start = time.monotonic()
        for i in range(times):
            cursor.execute(statement.format(i=i))
        return time.monotonic() - start

    work = {
        "bulk insert": ("insert into {table} select i, i from generate_series(1, %d) i" % ROWS, 1),
        "bulk update": ("update {table} set v = v + 1", 1),
        "bulk delete": ("delete from {table}", 1),
        "single insert": ("insert into {table} values ({{i}}, 0)", SINGLES),
        "single update": ("update {table} set v = v + 1 where id = {{i}}", SINGLES),
        "single delete": ("delete from {table} where id = {{i}}", SINGLES),
    }
    times = {(name, table): [] for name in work for table in ("plain", "captured")}
    for _ in range(ROUNDS):
        for name, (statement, n) in work.items():
            for table in ("plain", "captured"):
                times[name, table].append(timed(statement.format(table=table), n))
        for table in ("plain", "captured"):
            cursor.execute(f"vacuum {table}")
    for name in work:
        plain, captured = (statistics.median(times[name, t]) for t in ("plain", "captured"))
        print(f"{name:14} {plain * 1000:9.1f} ms plain {captured * 1000:9.1f} ms captured   ratio {captured / plain:.2f}")
    print(json.dumps({name: round(statistics.median(times[name, "captured"]) / statistics.median(times[name, "plain"]), 2) for name in work}))


main()
