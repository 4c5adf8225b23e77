#!/usr/bin/env python3
"""What it costs to bring stream tables that read each other up to date together, and what a refresh costs that has nothing to do.

    bash bench/run.sh dag

One changed row of 100,000; refresh_all() over a chain of 10, a fan-out of 60 and a diamond.  The baseline is REFRESH MATERIALIZED VIEW
of the same queries, one after the other.
"""
from common import Report, Session, median

ROWS, ROUNDS = 100_000, 9


def measure(s, report, what, queries, reach):
    for name, query in queries:
        s.create(name, query)
        s(f"create materialized view mv_{name} as " + query.replace("from st_", "from mv_st_").replace("join st_", "join mv_st_"))
    s.attach()
    s("select dbt_pgstream.refresh_all()")
    s("select dbt_pgstream.refresh_all()")
    s("analyze")
    ours, idle, theirs = [], [], []
    for i in range(ROUNDS):
        s(f"update src set v = v + 1 where id = {1 + i * 1000}")
        ours.append(s.timed("select dbt_pgstream.refresh_all()"))
        idle.append(s.timed("select dbt_pgstream.refresh_all()"))
        theirs.append(sum(s.timed(f"refresh materialized view mv_{name}") for name, _ in queries))
    for name, _ in queries:
        s.check(name)
    report.add(f"{what}, one row changed", median(ours) * 1000, median(theirs) * 1000, reach=reach)
    report.add(f"{what}, nothing changed", median(idle) * 1000, median(theirs) * 1000)
    s("drop table " + ", ".join(name for name, _ in reversed(queries)) + " cascade; drop materialized view " + ", ".join(f"mv_{name}" for name, _ in reversed(queries)) + " cascade")
    s.attach()


def main():
    s = Session()
    report = Report("dag", "REFRESH MATERIALIZED VIEW of each")
    s(f"create table src (id int primary key, g int, v int); insert into src select i, i % 1000, i from generate_series(1, {ROWS}) i; analyze src")
    chain = [("st_0", "select id, g, v from src where v > 0")] + [(f"st_{i}", f"select id, g, v + 1 as v from st_{i - 1} where v > 0") for i in range(1, 9)]
    chain.append(("st_9", "select g, sum(v) as s, count(*) as n from st_8 group by g"))
    measure(s, report, "chain of 10", chain, "under 15 ms")
    measure(s, report, "fan-out of 60", [(f"st_{i}", f"select g, sum(v) as s from src where g % 60 <> {i} group by g") for i in range(60)], "under 60 ms")
    measure(s, report, "diamond", [("st_top", "select id, g, v from src where v > 0"), ("st_left", "select g, sum(v) as s from st_top group by g"),
                                   ("st_right", "select g, count(*) as n from st_top group by g"), ("st_end", "select l.g, l.s, r.n from st_left l join st_right r using (g)")], "under 6 ms")
    s.create("st_one", "select g, sum(v) as s from src group by g")
    s.attach()
    s.refresh("st_one")
    report.add("one stream table, nothing changed", median([s.refresh("st_one") for _ in range(50)]) * 1000, reach="under 0.3 ms")
    report.done()


main()
