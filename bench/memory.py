#!/usr/bin/env python3
"""Whether the memory of a refresh follows work_mem, not the change: the peak of a backend's private memory, by the size of the delta.

    bash bench/run.sh memory [rows changed ...]         default: 15000 150000 1500000

A table of as many rows as the largest change, of which so many are updated, with work_mem at 4 MB, and the delta followed whatever it costs.
Megabytes of a fresh backend that does nothing else (what the kernel counts as its peak, less what it shares: Linux, and the server here); the baseline is
the smallest change.  Each stream table is verified.
"""
import sys

from common import Report, Session

CHANGES = [int(a) for a in sys.argv[1:]] or [15_000, 150_000, 1_500_000]
QUERIES = {
    "scan": "select id, g, v, t from src",
    "no key": "select g, v, t from src",
    "join": "select s.id, d.name, s.v from src s join dim d using (g)",
    "groups": "select id % 700000 as k, sum(v) as s, count(*) as n from src group by 1",
    "windows": "select id, row_number() over (partition by g order by v, id) as n from src",
    "string_agg": "select g, string_agg(t, ',' order by id) as ts from src group by g",
}


def fresh():
    s = Session()
    s("set work_mem = '4MB'; set maintenance_work_mem = '16MB'; set max_parallel_workers_per_gather = 0; set dbt_pgstream.full_refresh_factor = 1e9")
    return s


def private_peak(s):
    """Megabytes."""
    with open(f"/proc/{s.value('select pg_backend_pid()')}/status") as status:
        kb = dict(line.split(":", 1) for line in status)
    return (int(kb["VmHWM"].split()[0]) - int(kb["RssShmem"].split()[0])) / 1024


def main():
    report = Report("memory", "the smallest change")
    s = fresh()
    s(f"create table src (id int primary key, g int not null, v bigint, t text); insert into src select i, 1 + i % 1000, i, 'row ' || i from generate_series(1, {max(CHANGES)}) i;"
      "create table dim (g int primary key, name text); insert into dim select i, 'name ' || i from generate_series(1, 1000) i")
    for name, query in QUERIES.items():
        s.create("st", query)
        s.attach()
        s.refresh("st")
        s("analyze src, st")
        first = None
        for n in CHANGES:
            Session()(f"update src set v = v + 1, t = t || 'x' where id <= {n}")
            s = fresh()
            s.refresh("st")
            action, peak = s.last_action("st"), private_peak(s)
            first = first or peak
            report.add(f"{name}, {n} rows updated ({action})", peak, first, unit="MB")
        s.check("st")
        s("drop table st")
        s.attach()
    report.done()


main()
