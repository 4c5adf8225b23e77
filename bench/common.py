"""What the benches share: a connection, timing, attaching capture, and a table of results with its JSON."""
import json
import os
import statistics
import time

import psycopg2


def connect():
    connection = psycopg2.connect(host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"], dbname=os.environ["PGDATABASE"])
    connection.autocommit = True
    return connection


class Session:
    def __init__(self):
        self.connection = connect()
        self.cursor = self.connection.cursor()

    def __call__(self, statement):
        self.cursor.execute(statement)
        return self.cursor.fetchall() if self.cursor.description else None

    def value(self, statement):
        return self(statement)[0][0]

    def timed(self, statement):
        """Seconds that a statement takes."""
        start = time.perf_counter()
        self.cursor.execute(statement)
        return time.perf_counter() - start

    def attach(self):
        """What the scheduler does, which is off here: capture triggers and buffers."""
        while self.value("select dbt_pgstream_internal.maintain_capture()"):
            pass

    def create(self, name, query, schedule="1d"):
        self.cursor.execute("select dbt_pgstream.create_stream_table(%s, %s, %s)", (name, query, schedule))

    def refresh(self, name):
        return self.timed(f"select dbt_pgstream.refresh_stream_table('{name}')")

    def check(self, name):
        """A figure of a wrong result is worth nothing."""
        assert self.value(f"select ok from dbt_pgstream.verify_stream_table('{name}')"), f"{name} is wrong"

    def last_action(self, name):
        return self.value(f"select action from dbt_pgstream.get_refresh_history('{name}', 1)")


def median(values):
    return statistics.median(values)


class Report:
    """Lines (what, ours, baseline, ratio, what was to be reached), printed as they come, and as JSON at the end."""

    def __init__(self, bench, baseline):
        self.bench = bench
        self.lines = []
        print(f"{bench + ', against ' + baseline:76} {'ours':>10} {'baseline':>10} {'ratio':>8}  to reach")

    def add(self, what, ours, baseline=None, unit="ms", reach=""):
        ratio = ours / baseline if baseline else None
        self.lines.append({"what": what, "ours": round(ours, 4), "baseline": baseline and round(baseline, 4), "unit": unit, "ratio": ratio and round(ratio, 4), "reach": reach})
        print(f"{what:76} {ours:8.3f}{unit} {f'{baseline:8.3f}{unit}' if baseline else '':>10} {f'{ratio:8.3f}' if ratio else '':>8}  {reach}", flush=True)

    def done(self):
        print(json.dumps({"bench": self.bench, "lines": self.lines}))
