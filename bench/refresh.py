#!/usr/bin/env python3
"""What a refresh costs against REFRESH MATERIALIZED VIEW of the same query, in the same run.

    bash bench/run.sh refresh [rows ...]        default: 10000 100000 1000000

For each query, size and share of changed rows: median milliseconds of three refreshes, each after fresh updates of random rows.  The
materialized view has an index on its key, as the stream table has.  The stream table is verified after each.
"""
import sys

from common import Report, Session, median

SIZES = [int(a) for a in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
QUERIES = {
    "scan": "select id, g, v, t from src",
    "filter": "select id, g, v from src where v % 2 = 0",
    "aggregate": "select g, count(*) as n, sum(v) as s, avg(v) as a from src group by g",
    "join": "select s.id, s.v, d.name from src s join dim d using (g)",
    "join + aggregate": "select d.region, count(*) as n, sum(s.v) as s from src s join dim d using (g) group by d.region",
}
KEYS = {"scan": "id", "filter": "id", "aggregate": "g", "join": "id", "join + aggregate": "region"}
SHARES = [0, 0.0001, 0.01, 0.1, 0.5]
REACH = {"scan": "1%: 0.1", "filter": "1%: 0.1", "join": "1%: 0.1", "join + aggregate": "1%: 0.1", "aggregate": "1%: 0.167"}


def main():
    s = Session()
    report = Report("refresh", "REFRESH MATERIALIZED VIEW")
    for rows in SIZES:
        s("drop table if exists src, dim cascade")
        s(f"create table src (id int primary key, g int not null, v bigint not null, t text);"
          f"insert into src select i, i % 1000, i, 'row ' || i from generate_series(1, {rows}) i;"
          "create table dim (g int primary key, name text, region int);"
          "insert into dim select i, 'name ' || i, i % 50 from generate_series(0, 999) i")
        for name, query in QUERIES.items():
            s.create("st", query)
            s(f"create materialized view mv as {query}; create index on mv ({KEYS[name]})")
            s.attach()
            s.refresh("st")
            s("vacuum analyze src, dim, st, mv")
            s("checkpoint")
            for share in SHARES:
                n = int(rows * share)
                ours, theirs, actions = [], [], set()
                for i in range(3):
                    if n:
                        s(f"update src set v = v + 2 where id in (select (random() * {rows})::int from generate_series(1, {n}))")
                    ours.append(s.refresh("st"))
                    actions.add(s.last_action("st"))
                    theirs.append(s.timed("refresh materialized view mv"))
                    s.attach()
                s.check("st")
                report.add(f"{name}, {rows} rows, {share:.2%} changed ({', '.join(sorted(actions))})", median(ours) * 1000,
                           median(theirs) * 1000, reach=REACH[name] if share == 0.01 and rows == 1_000_000 else "under 0.3 ms" if n == 0 else "")
            s("drop table st; drop materialized view mv")
            s.attach()
    report.done()


main()
