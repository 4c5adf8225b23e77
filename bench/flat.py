#!/usr/bin/env python3
"""Whether the cost of a refresh follows the change, not the table: a fixed number of changed rows while the table grows.

    bash bench/run.sh flat [rows ...]           default: 10000 100000 1000000 10000000

1,000 updated rows, and one, for each size; the baseline is the smallest size, the ratio ours at this size against ours there.  One row
in a join of a million is also set against REFRESH MATERIALIZED VIEW.
"""
import sys

from common import Report, Session, median

SIZES = [int(a) for a in sys.argv[1:]] or [10_000, 100_000, 1_000_000, 10_000_000]
QUERIES = {
    "filter": "select id, g, v from src where v >= 0",
    "join": "select s.id, s.v, d.name from src s join dim d on d.g = s.g",
    "join + aggregate": "select d.region, sum(s.v) as s, count(*) as n from src s join dim d on d.g = s.g group by d.region",
}


def main():
    s = Session()
    report = Report("flat", "the smallest table")
    first = {}
    for rows in SIZES:
        s("drop table if exists src, dim cascade")
        s(f"create table src (id int primary key, g int not null, v bigint not null); insert into src select i, i % 1000, i from generate_series(1, {rows}) i;"
          "create table dim (g int primary key, name text, region int); insert into dim select i, 'name ' || i, i % 50 from generate_series(0, 999) i")
        s("create index on src (g)")
        for name, query in QUERIES.items():
            s.create("st", query)
            s.attach()
            s.refresh("st")
            s("vacuum analyze src, dim, st")
            s("checkpoint")
            for n in (1000, 1):
                ours = []
                for i in range(7):
                    s(f"update src set v = v + 1 where id between {1 + i * 1000} and {i * 1000 + n}")
                    ours.append(s.refresh("st"))
                    s.attach()
                first.setdefault((name, n), median(ours))
                report.add(f"{name}, {rows} rows, {n} changed", median(ours) * 1000, first[name, n] * 1000, reach="1.5" if n == 1000 else "")
                if rows == 1_000_000 and n == 1 and name == "join":
                    s(f"create materialized view mv as {query}")
                    report.add("join, 1000000 rows, 1 changed, against REFRESH", median(ours) * 1000, s.timed("refresh materialized view mv") * 1000, reach="under 2 ms, 0.01")
                    s("drop materialized view mv")
            if rows <= 1_000_000:
                s.check("st")
            s("drop table st")
            s.attach()
    report.done()


main()
