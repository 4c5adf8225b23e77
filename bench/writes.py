#!/usr/bin/env python3
"""What capture costs a writer, as a ratio against the same table without it, in the same run.

    bash bench/run.sh writes

Bulk statements of 100,000 rows into a narrow table, a wide one (20 columns of which 3 are used) and one without a primary key, with 1
and 5 stream tables on it; and single-row transactions (fsync off, one statement each).  The tables take turns; medians.

A third table has triggers with transition tables that do nothing, which tells what of the overhead is the server's collecting of rows.  The
write-ahead log is counted in bytes.
"""
from common import Report, Session, median

ROWS, SINGLES, ROUNDS = 100_000, 2_000, 7
SHAPES = {
    "narrow": ("id int primary key, g int, v int, u int", "select i, i % 100, i, 0 from generate_series(1, {n}) i"),
    "no key": ("id int, g int, v int, u int", "select i, i % 100, i, 0 from generate_series(1, {n}) i"),
    "wide": ("id int primary key, g int, v int, u int, " + ", ".join(f"c{i} text" for i in range(16)),
             "select i, i % 100, i, 0, " + ", ".join(f"'some text {i}'" for i in range(16)) + " from generate_series(1, {n}) i"),
}
REACH = {"insert": "1.8 with a key, 1.5 us a row", "update unused column": "1.1", "update": "1.8 with a key, 1.5 us a row", "delete": "1.8 with a key, 1.5 us a row"}


TABLES = ("plain", "collected", "captured")
EVENTS = {"insert": "new table as n", "update": "old table as o new table as n", "delete": "old table as o"}


def collect(s, table):
    """Let the server collect the rows of each statement, for nobody."""
    s("create or replace function nothing() returns trigger language plpgsql as 'begin return null; end'")
    for event, tables in EVENTS.items():
        s(f"create trigger collects_{event} after {event} on {table} referencing {tables} for each statement execute function nothing()")


def measured(s, statement):
    """Seconds, and bytes of the write-ahead log, that a statement takes."""
    start = s.value("select pg_current_wal_insert_lsn()")
    return s.timed(statement), float(s.value(f"select pg_current_wal_insert_lsn() - '{start}'"))


def bulk(s, report, shape, streams):
    columns, rows = SHAPES[shape]
    for table in TABLES:
        s(f"drop table if exists {table} cascade; create table {table} ({columns})")
    collect(s, "collected")
    for i in range(streams):
        s.create(f"st{i}", f"select g, sum(v) as s, count(*) as n from captured where id > {i} group by g")
    s.attach()
    work = {
        "insert": f"insert into {{t}} {rows.format(n=ROWS)}",
        "update": "update {t} set v = v + 1",
        "update unused column": "update {t} set u = u + 1",
        "delete": "delete from {t}",
    }
    seen = {(w, t): [] for w in work for t in TABLES}
    for _ in range(ROUNDS):
        for w, statement in work.items():
            for t in TABLES:
                seen[w, t].append(measured(s, statement.format(t=t)))
            for t in TABLES:
                s(f"vacuum {t}")
        s("select dbt_pgstream.refresh_all()")
        s.attach()
        s("checkpoint")
    for w in work:
        base, collected, ours = (median(seconds * 1e6 / ROWS for seconds, _ in seen[w, t]) for t in TABLES)
        base_wal, _, our_wal = (median(wal / ROWS for _, wal in seen[w, t]) for t in TABLES)
        what = f"{shape}, {streams} stream table{'s' if streams > 1 else ''}: {w}"
        report.add(f"{what} ({ours - base:+.2f} us a row, {collected - base:+.2f} to collect rows)", ours, base, unit="us", reach=REACH[w])
        report.add(f"{what}: write-ahead log", our_wal, base_wal, unit=" B")
    for i in range(streams):
        s.check(f"st{i}")
        s(f"drop table st{i}")
    s.attach()


def singles(s, report):
    for table in ("plain", "captured"):
        s(f"drop table if exists {table} cascade; create table {table} (id int primary key, g int, v int)")
    s.create("st0", "select g, sum(v) as s from captured group by g")
    s.attach()
    work = {"insert": "insert into {t} values ({i}, 1, 0)", "update": "update {t} set v = v + 1 where id = {i}", "delete": "delete from {t} where id = {i}"}
    times = {(w, t): [] for w in work for t in ("plain", "captured")}
    for _ in range(ROUNDS):
        for w, statement in work.items():
            for t in ("plain", "captured"):
                times[w, t].append(sum(s.timed(statement.format(t=t, i=i)) for i in range(SINGLES)))
        s("select dbt_pgstream.refresh_all()")
        s.attach()
        for t in ("plain", "captured"):
            s(f"vacuum {t}")
    for w in work:
        ours, base = (median(times[w, t]) * 1e6 / SINGLES for t in ("captured", "plain"))
        report.add(f"single-row commit, {w}", ours, base, unit="us", reach="1.25")
    s.check("st0")


def main():
    s = Session()
    report = Report("writes", "the same table without capture")
    for shape in SHAPES:
        bulk(s, report, shape, 1)
    bulk(s, report, "narrow", 5)
    singles(s, report)
    report.done()


main()
