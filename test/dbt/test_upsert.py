"""What a dbt run does to a stream table: created, unchanged, altered, rebound, replaced, recreated."""
import pytest
from dbt.tests.util import relation_from_name, run_dbt, write_file
from util import build, error_of

RAW = "create table {schema}.raw (id int primary key, g int, v int); insert into {schema}.raw select i, i % 3, i from generate_series(1, 9) i"
STAGING = "select id, g, v from {{ target.schema }}.raw"
MODEL = "{{ config(materialized='stream_table', schedule=none) }} select g, sum(v) as s from {{ ref('stg') }} group by g"


class TestActions:
    @pytest.fixture(scope="class")
    def models(self):
        return {"stg.sql": STAGING, "m.sql": MODEL}

    def test_actions(self, project, sql):
        project.run_sql(RAW.format(schema=project.test_schema))
        results = run_dbt(["run"])
        message = next(r.message for r in results if r.node.name == "m")
        assert message.startswith("CREATED 3 rows in ") and message.endswith(" ms")
        assert sql.right("m")
        oid = sql.oid("m")

        # the staging view is dropped and made again by every run
        assert build()["m"] == "UNCHANGED"
        write_file("-- a comment\n" + MODEL.replace("select g", "SELECT\n\n  G").replace("group by g", "group by 1;  "), "models", "m.sql")
        assert build()["m"] == "UNCHANGED"

        write_file(MODEL.replace("schedule=none", "schedule='1h', refresh_mode='FULL'"), "models", "m.sql")
        assert build()["m"] == "ALTERED"
        assert sql("SELECT schedule, refresh_mode FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'm'") == [("1h", "FULL")]
        assert build()["m"] == "UNCHANGED"
        write_file(MODEL, "models", "m.sql")
        assert build()["m"] == "ALTERED"

        # the meaning of the view changes
        write_file("select id, g, v * 10 as v from {{ target.schema }}.raw", "models", "stg.sql")
        assert build()["m"] == "REPLACED"
        assert sql.right("m") and sql.oid("m") == oid

        write_file(MODEL.replace("sum(v)", "sum(v) + 1"), "models", "m.sql")
        assert build()["m"] == "REPLACED"
        assert sql.right("m") and sql.oid("m") == oid

        write_file(MODEL.replace("sum(v) as s", "sum(v) as s, count(*) as n"), "models", "m.sql")
        assert build()["m"] == "RECREATED"
        assert sql.right("m")
        assert build(["run", "--full-refresh"])["m"] == "REPLACED"
        assert sql.right("m")

        # a source that is swapped by rename, as dbt's own table models are
        sql("CREATE TABLE raw_new AS SELECT id + 1 AS id, g, v FROM raw")
        sql("ALTER TABLE raw RENAME TO raw_old")
        sql("ALTER TABLE raw_new RENAME TO raw")
        sql("DROP TABLE raw_old CASCADE")
        assert sql.value("SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'm'") == "ERROR"
        assert sql.value("SELECT count(*) FROM m") == 3
        assert build()["m"] == "REBOUND"
        assert sql.right("m")


class TestUpstreamKinds:
    """Seeds, snapshots, table and incremental models upstream, which dbt rebuilds or changes on every run."""

    @pytest.fixture(scope="class")
    def seeds(self):
        return {"seed.csv": "id,name\n1,a\n2,b\n"}

    @pytest.fixture(scope="class")
    def snapshots(self):
        return {"snap.sql": "{% snapshot snap %}{{ config(target_schema=schema, unique_key='id', strategy='check', check_cols=['name']) }}"
                            " select * from {{ ref('seed') }} {% endsnapshot %}"}

    @pytest.fixture(scope="class")
    def models(self):
        return {
            "tab.sql": "{{ config(materialized='table') }} select id, name, 1 as one from {{ ref('seed') }}",
            "inc.sql": "{{ config(materialized='incremental', unique_key='id') }} select id, name from {{ ref('seed') }}",
            "eph.sql": "{{ config(materialized='ephemeral') }} select id * 2 as id2 from {{ ref('seed') }}",
            "m.sql": "{{ config(materialized='stream_table', schedule=none) }} select t.id, t.name, i.name as iname, s.dbt_scd_id is not null as snapped,"
                     " e.id2 from {{ ref('tab') }} t join {{ ref('inc') }} i using (id) left join {{ ref('snap') }} s on s.id = t.id and s.dbt_valid_to is null"
                     " left join {{ ref('eph') }} e on e.id2 = t.id * 2",
            "down.sql": "{{ config(materialized='stream_table', schedule=none) }} select count(*) as n from {{ ref('m') }}",
            "after.sql": "{{ config(materialized='table') }} select * from {{ ref('m') }}",
            "mb.sql": "select * from {{ ref('down') }}",
        }

    def test_upstream(self, project, sql):
        assert build(["build"])["m"] == "CREATED"
        assert build(["build"])["m"] == "REBOUND"       # the table model was swapped
        assert sql.right("m") and sql.right("down")
        for seed in ("id,name\n1,a\n2,bb\n3,c\n", "id,name\n3,c\n"):
            write_file(seed, "seeds", "seed.csv")
            build(["build"])
            sql.refresh("m")    # no schedule: nothing follows by itself
            sql.refresh("down")
            assert sql.right("m") and sql.right("down")
        write_file("id,name\n7,x\n", "seeds", "seed.csv")
        build(["build", "--full-refresh"])
        sql.refresh("m")
        sql.refresh("down")
        assert sql.right("m") and sql.right("down")
        assert sql("SELECT id, name FROM m") == [(7, "x")]


class TestInTheWay:
    """Something else has the name; and a model that changes its kind."""

    @pytest.fixture(scope="class")
    def models(self):
        return {"m.sql": "{{ config(materialized='stream_table', schedule=none) }} select 1 as id", "down.sql": "select * from {{ ref('m') }}"}

    def kind(self, project, materialized, args=(), expect_pass=True):
        write_file("{{ config(materialized='" + materialized + "', schedule=none) }} select 1 as id", "models", "m.sql")
        return run_dbt(["run", *args], expect_pass=expect_pass)

    @pytest.mark.parametrize("other", ["view", "table", "incremental"])
    def test_change_of_kind(self, project, sql, other):
        full = ["--full-refresh"] if other == "incremental" else []
        self.kind(project, other, full)
        results = self.kind(project, "stream_table", expect_pass=False)
        message = next(r.message for r in results if r.node.name == "m")
        assert "Cannot create stream table" in message and "with that name already exists" in message and "--full-refresh" in message
        self.kind(project, "stream_table", ["--full-refresh"])
        assert sql.right("m")
        self.kind(project, "stream_table")
        if other == "incremental":
            # without --full-refresh it would write into the stream table: the guard says what to do
            results = self.kind(project, other, expect_pass=False)
            message = next(r.message for r in results if r.node.name == "m")
            assert "cannot change stream table" in message and "--full-refresh" in message
            assert sql.right("m")
        self.kind(project, other, full)
        assert sql.value("SELECT count(*) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = current_schema") == 0
        assert sql.value("SELECT count(*) FROM m") == 1


BAD = {
    "syntax.sql": ("select from where", "syntax error"),
    "two.sql": ("select 1 as a; select 2 as b", "must be one statement, not 2"),
    "ddl.sql": ("drop table if exists nothing", "must be a SELECT, not DROP TABLE"),
    "dup.sql": ("select 1 as a, 2 as a", "appears more than once"),
    "unnamed.sql": ("select 1 + 1", "has no name"),
    "vol.sql": ("select random() as r", "random is volatile"),
    "missing.sql": ("select * from nosuch_table", 'relation "nosuch_table" does not exist'),
}


class TestBadInput:
    @pytest.fixture(scope="class")
    def models(self):
        models = {name: "{{ config(materialized='stream_table') }} " + text for name, (text, _) in BAD.items()}
        models["mode.sql"] = "{{ config(materialized='stream_table', refresh_mode='MAGIC') }} select 1 as a"
        models["sched.sql"] = "{{ config(materialized='stream_table', schedule='often') }} select 1 as a"
        models["number.sql"] = "{{ config(materialized='stream_table', schedule=5) }} select 1 as a"
        models["engine.sql"] = "{{ config(materialized='stream_table', engine='pg_trickle') }} select 1 as a"
        models["good.sql"] = "{{ config(materialized='stream_table') }} select 1 as a"
        return models

    def test_messages(self, project, sql):
        messages = {r.node.name: r.message for r in run_dbt(["run"], expect_pass=False)}
        for name, (_, text) in BAD.items():
            assert text in messages[name.removesuffix(".sql")]
        assert 'unknown refresh mode "MAGIC"' in messages["mode"] and "DIFFERENTIAL, FULL" in messages["mode"]
        assert 'invalid schedule "often"' in messages["sched"] and "1h30m" in messages["sched"]
        assert "must be text" in messages["number"]
        assert "pg_trickle extension is not installed" in messages["engine"] and "CREATE EXTENSION pg_trickle" in messages["engine"]
        assert messages["good"].startswith("CREATED 1 rows")
        assert sql("SELECT pgs_name FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = current_schema") == [("good",)]


class TestText:
    """Quotes, dollar quotes, comments, percent signs and a semicolon in a model's SQL; hostile names."""

    @pytest.fixture(scope="class")
    def models(self):
        return {
            "texts.sql": "{{ config(materialized='stream_table', schedule=none) }} -- it's\nselect 'it''s' as a, $$dollar$$ as b, $pgs$x$pgs$ as c, '100%s %(x)s' as d,"
                         " E'\\\\n' as e /* ; */, 'ünï' as \"Ü ñ\" ;\n-- end",
            "named.sql": "{{ config(materialized='stream_table', schedule=none, alias='Weird $$ na me') }} select 1 as x",
            "pg.sql": "{{ config(materialized='pgstream_table', schedule='*/5 * * * *') }} select 1 as x",
        }

    def test_texts(self, project, sql):
        assert build() == {"texts": "CREATED", "named": "CREATED", "pg": "CREATED"}
        assert build() == {"texts": "UNCHANGED", "named": "UNCHANGED", "pg": "UNCHANGED"}
        assert sql.value("SELECT count(*) FROM \"Weird $$ na me\"") == 1
        assert sql("SELECT * FROM texts") == [("it's", "dollar", "x", "100%s %(x)s", "\\n", "ünï")]
        assert sql.value("SELECT schedule FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'pg'") == "*/5 * * * *"


class TestNoExtension:
    @pytest.fixture(scope="class")
    def models(self):
        return {"m.sql": "{{ config(materialized='stream_table') }} select 1 as id", "v.sql": "select 1 as id"}

    def test_missing_and_other_version(self, project, sql):
        sql("DROP EXTENSION dbt_pgstream CASCADE")
        try:
            message = error_of(["run"], "m")
            assert "dbt_pgstream extension is not installed" in message and "CREATE EXTENSION dbt_pgstream" in message
            # everything else of dbt works as if the package weren't there
            run_dbt(["run", "--select", "v"])
            run_dbt(["docs", "generate"])
        finally:
            sql("CREATE EXTENSION dbt_pgstream")
        sql("UPDATE pg_extension SET extversion = '9.9.0' WHERE extname = 'dbt_pgstream'")
        try:
            message = error_of(["run"], "m")
            assert "version 9.9.0" in message and "ALTER EXTENSION dbt_pgstream UPDATE" in message
        finally:
            sql("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'dbt_pgstream'")
        assert build()["m"] == "CREATED"
