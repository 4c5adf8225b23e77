#!/usr/bin/env python3
"""The 22 queries of TPC-H as stream tables, against REFRESH MATERIALIZED VIEW of the same query, in the same run.

    bash bench/run.sh tpch [scale factor [queries ...]]        default: 1, all

Data by tpchgen-cli, indexes on the foreign keys.  For each share: so many of the orders change, a third deleted, a third inserted, a third
updated, each with its lineitems; then every stream table and every materialized view is refreshed, once for each of two rounds, and every
stream table verified.  Milliseconds are the better of the two rounds; what a refresh did is beside them.
"""
import math
import os
import subprocess
import sys
import tempfile

from common import Report, Session
from tpch_queries import INDEXES, QUERIES, SCHEMA, TABLES

SCALE = float(sys.argv[1]) if len(sys.argv) > 1 else 1
CHOSEN = [int(a) for a in sys.argv[2:]] or list(QUERIES)
SHARES = [0.01, 0.0001]


def load(s):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.path.join(os.path.dirname(sys.executable), "tpchgen-cli"), "csv", "-s", f"{SCALE:g}", "--output-dir", folder],
                       check=True, stdout=subprocess.DEVNULL)
        s(SCHEMA)
        for table in TABLES:
            with open(os.path.join(folder, f"{table}.csv")) as data:
                s.cursor.copy_expert(f"copy {table} from stdin (format csv, header)", data)
    s(INDEXES)
    s("vacuum analyze")


def change(s, share):
    """A third of the orders each deleted, inserted and updated, with their lineitems."""
    n = max(1, int(s.value("select count(*) from orders") * share / 3))
    s(f"""create temp table chosen as select o_orderkey as k, (row_number() over () - 1) % 3 as what from (
            select o_orderkey from orders order by hashint4(o_orderkey # {hash(str(n)) & 0xffff}) limit {3 * n}) x;
        analyze chosen;
        create temp table fresh as select k, row_number() over () + (select max(o_orderkey) from orders) as new from chosen where what = 0;
        insert into orders select new, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, o_clerk, o_shippriority, o_comment
            from orders join fresh on k = o_orderkey;
        insert into lineitem select new, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag, l_linestatus,
            l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment from lineitem join fresh on k = l_orderkey;
        update orders set o_totalprice = o_totalprice + 1 from chosen where k = o_orderkey and what = 1;
        update lineitem set l_quantity = l_quantity % 50 + 1, l_extendedprice = l_extendedprice + 1 from chosen where k = l_orderkey and what = 1;
        delete from orders using chosen where k = o_orderkey and what = 2;
        delete from lineitem using chosen where k = l_orderkey and what = 2;
        drop table chosen, fresh""")


def main():
    s = Session()
    s("set client_min_messages = warning")
    load(s)
    for i in CHOSEN:
        s.create(f"q{i}", QUERIES[i])
        s(f"create materialized view m{i} as {QUERIES[i]}")
    s.attach()
    for i in CHOSEN:
        s.refresh(f"q{i}")
    s("vacuum analyze")
    s("checkpoint")
    report = Report(f"tpch, scale factor {SCALE:g}", "REFRESH MATERIALIZED VIEW")
    for share in SHARES:
        ours, theirs, actions = {}, {}, {}
        for _ in range(2):
            change(s, share)
            for i in CHOSEN:
                ours[i] = min(ours.get(i, math.inf), s.refresh(f"q{i}"))
                actions.setdefault(i, set()).add(s.last_action(f"q{i}"))
            for i in CHOSEN:
                theirs[i] = min(theirs.get(i, math.inf), s.timed(f"refresh materialized view m{i}"))
            s.attach()
        for i in CHOSEN:
            s.check(f"q{i}")
            report.add(f"Q{i}, {share:.2%} of orders changed ({', '.join(sorted(actions[i]))})", ours[i] * 1000, theirs[i] * 1000, reach="at most 1")
        mean = math.exp(sum(math.log(theirs[i] / ours[i]) for i in CHOSEN) / len(CHOSEN))
        print(f"geometric mean: {mean:.1f} times faster; to reach: {'5' if share == 0.01 else '50'}", flush=True)
        report.lines.append({"what": f"geometric mean, {share:.2%}", "ratio": 1 / mean})
    report.done()


main()
