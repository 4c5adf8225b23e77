"""Random queries over random data, random changes, refreshes at random points: each refresh must leave the stream table right.

Seeded and replayable: PGS_SEED=n for one seed, PGS_RANDOM_SEEDS=n for how many (0: without end).  A failure prints seed, query and
the statements since the last refresh that was right.
"""
import itertools
import os
import random

import psycopg2

TABLES = ("t0", "t1", "t2", "bag")
INTS = ("a", "b", "id")


class Generator:
    def __init__(self, rnd):
        self.rnd = rnd
        self.n = itertools.count()
        self.streams = []       # stream tables that others may read

    def pick(self, *options):
        return self.rnd.choice(options)

    def chance(self, p):
        return self.rnd.random() < p

    def item(self, depth):
        """A FROM item: (sql, alias, int columns)."""
        alias = f"x{next(self.n)}"
        if depth > 0 and self.chance(0.3):
            columns = ["k1", "k2"]
            return f"({self.query(depth - 1, names=columns)}) {alias}", alias, columns
        if self.streams and self.chance(0.4):
            return f"{self.rnd.choice(self.streams)} {alias}", alias, ["k1", "k2"]
        table = self.pick(*TABLES)
        return f"{table} {alias}", alias, ["a", "b"] if table == "bag" else list(INTS)

    def column(self, scope):
        alias, columns = self.rnd.choice(scope)
        return f"{alias}.{self.rnd.choice(columns)}"

    def condition(self, scope, depth):
        c = self.column(scope)
        kind = self.rnd.random()
        if kind < 0.4:
            return f"{c} {self.pick('<', '>', '=', '<>')} {self.rnd.randint(0, 8)}"
        if kind < 0.6:
            return f"{c} = {self.column(scope)}"
        if kind < 0.7:
            return f"{c} IS {self.pick('', 'NOT ')}NULL"
        if kind < 0.8:
            return f"({self.condition(scope, depth)} OR {self.condition(scope, depth)})"
        if depth > 0:
            table = self.pick(*TABLES)
            if self.chance(0.5):
                return f"{c} {self.pick('IN', 'NOT IN')} (SELECT a FROM {table} WHERE b IS NOT NULL)"
            return f"{self.pick('EXISTS', 'NOT EXISTS')} (SELECT FROM {table} s WHERE s.a = {c})"
        return "true"

    def source(self, depth):
        """FROM and WHERE, and the scope they make."""
        sql, alias, columns = self.item(depth)
        scope = [(alias, columns)]
        for _ in range(self.pick(0, 0, 1, 1, 2)):
            right, ralias, rcolumns = self.item(depth)
            kind = self.pick("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
            shared = [c for c in columns if c in rcolumns]
            if kind == "JOIN" and shared and len(scope) == 1 and self.chance(0.15):
                sql += f" JOIN {right} USING ({self.rnd.choice(shared)})"
            else:
                on = f"{self.column(scope)} = {ralias}.{self.rnd.choice(rcolumns)}"
                if kind != "FULL JOIN" and self.chance(0.3):
                    on += f" AND {self.condition(scope + [(ralias, rcolumns)], 0)}"
                sql += f" {kind} {right} ON {on}"
            scope.append((ralias, rcolumns))
        if self.chance(0.1):
            extra, ealias, ecolumns = self.item(0)
            sql += f", {extra}"
            scope.append((ealias, ecolumns))
            where = [f"{self.column(scope[:-1])} = {ealias}.{self.rnd.choice(ecolumns)}"]
        else:
            where = []
        where += [self.condition(scope, depth) for _ in range(self.pick(0, 1, 1, 2))]
        return sql + (" WHERE " + " AND ".join(where) if where else ""), scope

    def query(self, depth=2, names=("k1", "k2")):
        kind = self.rnd.random()
        if depth > 0 and kind < 0.15:
            op = self.pick("UNION ALL", "UNION ALL", "UNION", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL", "INTERSECT")
            return f"{self.query(depth - 1, names)} {op} {self.query(depth - 1, names)}"
        source, scope = self.source(depth)
        a, b = self.column(scope), self.column(scope)
        k1, k2 = names
        if kind < 0.45:
            return f"SELECT {a} AS {k1}, {b} AS {k2} FROM {source}"
        if kind < 0.65:
            agg = self.pick("count(*)", f"sum({b})", f"max({b})", f"count(DISTINCT {b})", f"min({b}) FILTER (WHERE {b} > 2)")
            having = self.pick("", "", " HAVING count(*) > 1", f" HAVING sum({b}) > 5")
            return f"SELECT {a} AS {k1}, {agg}::int AS {k2} FROM {source} GROUP BY {a}{having}"
        if kind < 0.72:
            return f"SELECT DISTINCT {a} AS {k1}, {b} AS {k2} FROM {source}"
        if kind < 0.78:
            return f"SELECT DISTINCT ON ({a}) {a} AS {k1}, {b} AS {k2} FROM {source} ORDER BY {a}, {b}"
        if kind < 0.88:
            window = self.pick(f"sum({b}) OVER (PARTITION BY {a})", f"rank() OVER (PARTITION BY {a} ORDER BY {b})",
                               f"count(*) OVER (PARTITION BY {a}, {b})", f"max({b}) OVER ()")
            return f"SELECT {a} AS {k1}, ({window})::int AS {k2} FROM {source}"
        if kind < 0.92:
            return f"SELECT sum({a})::int AS {k1}, count(*)::int AS {k2} FROM {source}"
        if kind < 0.96:
            return f"(SELECT {a} AS {k1}, {b} AS {k2} FROM {source} ORDER BY 1, 2 LIMIT 5)"
        return f"SELECT {a} + 1 AS {k1}, {b} AS {k2} FROM {source}"

    def value(self):
        return self.pick("NULL", *map(str, range(9)))

    def change(self):
        t = self.pick(*TABLES)
        kind = self.rnd.random()
        where = self.pick(f"a = {self.value()}", f"b > {self.rnd.randint(0, 8)}", "a IS NULL", f"a % 3 = {self.rnd.randint(0, 2)}")
        if kind < 0.35:
            if t == "bag":
                return f"INSERT INTO bag VALUES ({self.value()}, {self.value()}), ({self.value()}, {self.value()})"
            return f"INSERT INTO {t} VALUES ({self.rnd.randint(1, 30)}, {self.value()}, {self.value()}) ON CONFLICT (id) DO UPDATE SET a = excluded.a"
        if kind < 0.6:
            return f"UPDATE {t} SET {self.pick('a', 'b')} = {self.value()} WHERE {where}"
        if kind < 0.7 and t != "bag":
            return f"UPDATE {t} SET id = id + 100 WHERE id = {self.rnd.randint(1, 30)} AND NOT EXISTS (SELECT FROM {t} z WHERE z.id = {t}.id + 100)"
        if kind < 0.95:
            return f"DELETE FROM {t} WHERE {where}"
        if kind < 0.97:
            return f"TRUNCATE {t}"
        return f"INSERT INTO bag SELECT {self.value()}, b FROM {self.pick('t0', 't1')}"


def one_seed(connection, seed):
    rnd = random.Random(seed)
    g = Generator(rnd)
    cursor = connection.cursor()

    def run(statement):
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None

    run("DROP SCHEMA IF EXISTS r CASCADE; CREATE SCHEMA r; SET search_path = r")
    for t in TABLES[:3]:
        run(f"CREATE TABLE {t} (id int PRIMARY KEY, a int, b int); INSERT INTO {t} SELECT i, nullif(i % 7, 3), nullif(i % 5, 1) FROM generate_series(1, 20) i")
    run("CREATE TABLE bag (a int, b int); INSERT INTO bag SELECT nullif(i % 4, 0), i % 3 FROM generate_series(1, 15) i")
    queries = []
    while len(queries) < 3:
        query = g.query()
        try:
            run(f"SELECT dbt_pgstream.create_stream_table('st{len(queries)}', $q${query}$q$, '1d')")
            g.streams.append(f"st{len(queries)}")
            queries.append(query)
        except psycopg2.Error as e:
            # an ambiguous USING column, a sum too large: what SQL itself refuses
            assert e.pgcode and not e.pgcode.startswith("XX"), f"seed {seed}: {query}: {e}"
    while run("SELECT dbt_pgstream_internal.maintain_capture()")[0][0]:
        pass
    run("SELECT dbt_pgstream.refresh_all()")
    actions = set()
    since = []
    for _ in range(25):
        for _ in range(rnd.randint(1, 4)):
            since.append(g.change())
            if rnd.random() < 0.2:
                since[-1] = f"BEGIN; {since[-1]}; SAVEPOINT s; {g.change()}; ROLLBACK TO s; {g.change()}; COMMIT"
            run(since[-1])
        together = rnd.random() < 0.3
        if together:
            assert run("SELECT dbt_pgstream.refresh_all()")[0][0] == 0
        for i, query in enumerate(queries):
            if not together:
                run(f"SELECT dbt_pgstream.refresh_stream_table('st{i}')")
            (missing, unexpected, ok), = run(f"SELECT * FROM dbt_pgstream.verify_stream_table('st{i}')")
            actions.add(run(f"SELECT last_action FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_name = 'st{i}'")[0][0])
            lines = "\n".join(since)
            assert ok, f"seed {seed}: {missing} missing, {unexpected} unexpected\nquery: {query}\nsince it was right:\n{lines}"
        since = []
    return actions


def test_random_queries(make_cluster):
    c = make_cluster(preload=False, settings=["dbt_pgstream.scheduler = off"])
    c("CREATE EXTENSION dbt_pgstream")
    connection = c.connect()
    if "PGS_SEED" in os.environ:
        seeds = [int(os.environ["PGS_SEED"])]
    else:
        n = int(os.environ.get("PGS_RANDOM_SEEDS", "60"))
        seeds = range(n) if n else itertools.count()
    actions = [one_seed(connection, seed) for seed in seeds]
    # it did test what it is for
    if len(actions) > 20:
        assert sum("DIFFERENTIAL" in a for a in actions) > len(actions) // 3
        assert any("FULL" in a for a in actions)
