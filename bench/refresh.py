#!/usr/bin/env python3
"""What a refresh costs by full difference, as a ratio against REFRESH MATERIALIZED VIEW [CONCURRENTLY] of the same query.

    bash bench/run.sh refresh [rows]

For each query and share of changed rows: median seconds of three refreshes after fresh changes, in this very run.
"""
import json
import os
import statistics
import sys
import time

import psycopg2

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
QUERIES = {
    "filter": "select id, g, v from src where g < 50",
    "aggregate": "select g, sum(v) as s, count(*) as n from src group by g",
    "join": "select s.id, s.v, d.name from src s join dim d using (g)",
}
KEYS = {"filter": "id", "aggregate": "g", "join": "id"}
SHARES = [0.0, 0.0001, 0.01, 0.1]


def main():
    connection = psycopg2.connect(host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"], dbname=os.environ["PGDATABASE"])
    connection.autocommit = True
    cursor = connection.cursor()

    def timed(statement):
        start = time.monotonic()
        cursor.execute(statement)
        return time.monotonic() - start

    cursor.execute(f"create table src (id int primary key, g int, v numeric); insert into src select i, i % 100, i from generate_series(1, {ROWS}) i;"
                   "create table dim (g int primary key, name text); insert into dim select i, 'n' || i from generate_series(0, 99) i; analyze")
    print(f"{'query':10} {'changed':>8} {'ours ms':>9} {'REFRESH':>8} {'CONCURRENTLY':>13}   (ratios: ours / theirs)")
    for name, query in QUERIES.items():
        cursor.execute(f"select dbt_pgstream.create_stream_table('st_{name}', '{query}', '1d'); create materialized view mv_{name} as {query};"
                       f"create unique index on mv_{name} ({KEYS[name]}); analyze st_{name}, mv_{name}")
        attached = True
        while attached:     # what the scheduler does
            cursor.execute("select dbt_pgstream_internal.maintain_capture()")
            attached = cursor.fetchone()[0]
        cursor.execute(f"select dbt_pgstream.refresh_stream_table('st_{name}')")
        for share in SHARES:
            times = {"ours": [], "plain": [], "concurrently": []}
            for round_ in range(3):
                if share > 0:
                    cursor.execute(f"update src set v = v + 1 where id <= {int(ROWS * share)}")
                times["ours"].append(timed(f"select dbt_pgstream.refresh_stream_table('st_{name}')"))
                times["concurrently"].append(timed(f"refresh materialized view concurrently mv_{name}"))
                times["plain"].append(timed(f"refresh materialized view mv_{name}"))
            m = {k: statistics.median(t) for k, t in times.items()}
            print(f"{name:10} {share:8.2%} {m['ours'] * 1000:9.2f} {m['ours'] / m['plain']:8.3f} {m['ours'] / m['concurrently']:13.3f}")
            print(json.dumps({"bench": "refresh", "rows": ROWS, "query": name, "changed": share, "ours_ms": round(m["ours"] * 1000, 2),
                              "ours/refresh": round(m["ours"] / m["plain"], 3), "ours/concurrently": round(m["ours"] / m["concurrently"], 3)}), file=sys.stderr)


main()
