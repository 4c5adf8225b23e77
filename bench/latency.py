#!/usr/bin/env python3
"""From the commit of a change to the moment when a reader sees it in the stream table, the scheduler doing the rest.

    bash bench/run.sh latency [commits]         default: 200

A join with an aggregate over 100,000 rows, schedule 10ms.  One session commits single-row updates at random moments and then asks
the stream table until it shows the change.  The baseline is the same write followed by a refresh by hand in its own session.
"""
import random
import sys
import time

from common import Report, Session, median

COMMITS = int(sys.argv[1]) if len(sys.argv) > 1 else 200


def main():
    s = Session()
    s("alter system set dbt_pgstream.scheduler = on")
    s("select pg_reload_conf()")
    s("create table src (id int primary key, g int, v int); insert into src select i, i % 100, 0 from generate_series(1, 100000) i;"
      "create table dim (g int primary key, name text); insert into dim select i, 'n' || i from generate_series(0, 99) i")
    query = "select d.name, sum(s.v) as s from src s join dim d using (g) group by d.name"
    s.create("st", query, "10ms")
    s.create("by_hand", query, None)
    s("analyze")
    total = s.value("select sum(v) from src")
    end = time.monotonic() + 30
    while s.last_action("st") not in ("DIFFERENTIAL", "NO_DATA") or s.value("select count(*) from pg_trigger where tgname like 'pgstream_capture%'") < 8:
        assert time.monotonic() < end, "capture was not attached"
        time.sleep(0.1)
    seen, by_hand = [], []
    rnd = random.Random(1)
    for i in range(COMMITS):
        time.sleep(rnd.random() * 0.05)
        s(f"update src set v = v + 1 where id = {rnd.randint(1, 100000)}")
        total += 1
        start = time.perf_counter()
        while s.value("select sum(s) from st") != total:
            assert time.perf_counter() - start < 10, "never seen"
        seen.append(time.perf_counter() - start)
        by_hand.append(s.refresh("by_hand"))
    s("alter system reset dbt_pgstream.scheduler")
    s("select pg_reload_conf()")
    report = Report("latency", "a refresh by hand")
    report.add("commit to visible, median", median(seen) * 1000, median(by_hand) * 1000, reach="under 20 ms")
    report.add("commit to visible, 95th percentile", sorted(seen)[int(len(seen) * 0.95)] * 1000, median(by_hand) * 1000)
    report.done()


main()
