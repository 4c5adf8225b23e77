"""What dbt does around a model: indexes, grants, docs, contracts, hooks, --empty, defer, unit tests."""
import json

import pytest
from dbt.tests.util import read_file, run_dbt, run_dbt_and_capture, write_file
from util import build

SCHEMA_YML = """
version: 2
models:
  - name: m
    description: "A stream table, it's \\"documented\\""
    config:
      contract: {enforced: true}
      persist_docs: {relation: true, columns: true}
      grants: {select: [dbt_reader]}
    constraints:
      - {type: check, expression: "v >= 0", name: v_positive}
    columns:
      - {name: v, data_type: int, description: a number}
      - {name: id, data_type: int, constraints: [{type: not_null}, {type: primary_key}]}
unit_tests:
  - name: doubles
    model: doubled
    given:
      - input: ref('m')
        rows: [{id: 1, v: 2}]
    expect:
      rows: [{v2: 4}]
"""
MODEL = """{{ config(materialized='stream_table', schedule=none, tags=['live'], indexes=[{'columns': ['v']}, {'columns': ['v', 'id'], 'unique': true, 'type': 'btree'}],
  pre_hook="insert into {{ target.schema }}.log values ('pre')", post_hook=["insert into {{ target.schema }}.log values ('post')",
  {'sql': "vacuum {{ this }}", 'transaction': false}]) }}
select id, v from {{ target.schema }}.raw"""


class TestAround:
    @pytest.fixture(scope="class")
    def models(self):
        return {
            "m.sql": MODEL,
            "schema.yml": SCHEMA_YML,
            "doubled.sql": "{{ config(materialized='stream_table', schedule=none) }} select v * 2 as v2 from {{ ref('m') }}",
            "off.sql": "{{ config(materialized='stream_table', enabled=false) }} select 1 as x",
        }

    def indexes(self, sql):
        return sorted(d for (d,) in sql("SELECT regexp_replace(pg_get_indexdef(indexrelid), '.* USING', 'USING') FROM pg_index WHERE indrelid = 'm'::regclass"))

    def grants(self, sql):
        return sql.value("SELECT array_agg(grantee::text ORDER BY grantee) FROM information_schema.table_privileges"
                         " WHERE table_schema = current_schema AND table_name = 'm' AND privilege_type = 'SELECT' AND grantee LIKE 'dbt_%'")

    def test_all(self, project, sql):
        sql("CREATE TABLE raw (id int, v int); INSERT INTO raw VALUES (1, 1), (2, 2); CREATE TABLE log (what text)")
        assert build(["build"])["m"] == "CREATED"
        assert sql.right("m") and sql.right("doubled")
        assert self.indexes(sql) == ["USING btree (id)", "USING btree (v)", "USING btree (v, id)"]
        assert self.grants(sql) == ["dbt_reader"]
        assert sql("SELECT what FROM log") == [("pre",), ("post",)]
        assert sql.value("SELECT obj_description('m'::regclass)") == 'A stream table, it\'s "documented"'
        assert sql.value("SELECT col_description('m'::regclass, 1)") == "a number"
        # the contract decides the order of columns, and its constraints hold
        assert [c for (c,) in sql("SELECT attname FROM pg_attribute WHERE attrelid = 'm'::regclass AND attnum > 0 ORDER BY attnum")] == ["v", "id"]
        sql("INSERT INTO raw VALUES (3, -3)")
        with pytest.raises(Exception, match="v_positive"):
            sql.refresh("m")
        sql("UPDATE raw SET v = 3 WHERE id = 3")
        sql.refresh("m")
        assert sql.right("m")

        # nothing new: nothing done
        before = self.indexes(sql)
        assert build(["build"])["m"] == "UNCHANGED"
        assert self.indexes(sql) == before and self.grants(sql) == ["dbt_reader"]

        # changed grants and indexes on an unchanged query
        write_file(SCHEMA_YML.replace("dbt_reader", "dbt_writer").replace("a number", "another"), "models", "schema.yml")
        write_file(MODEL.replace("{'columns': ['v']}", "{'columns': ['v'], 'type': 'hash'}"), "models", "m.sql")
        assert build()["m"] == "UNCHANGED"
        assert self.grants(sql) == ["dbt_writer"]
        assert self.indexes(sql) == ["USING btree (id)", "USING btree (v, id)", "USING hash (v)"]
        assert sql.value("SELECT col_description('m'::regclass, 1)") == "another"

        # a contract that is broken says so, and nothing is lost
        write_file(MODEL.replace("select id, v", "select id, v::text as v"), "models", "m.sql")
        message = next(r.message for r in run_dbt(["run"], expect_pass=False) if r.node.name == "m")
        assert "contract" in message
        write_file(MODEL, "models", "m.sql")
        assert sql.right("m")

    def test_selection_and_show(self, project, sql):
        assert set(build(["run", "--select", "tag:live"])) == {"m"}
        run_dbt(["compile"])
        run_dbt(["show", "--select", "m"])
        assert build()["doubled"] == "UNCHANGED"

    def test_empty_keeps_the_definition(self, project, sql):
        assert build(["run", "--empty"]) == {"m": "UNCHANGED", "doubled": "UNCHANGED"}
        sql("DROP TABLE doubled")
        assert build(["run", "--empty", "--select", "doubled"]) == {"doubled": "CREATED"}
        assert sql.value("SELECT count(*) FROM doubled") == 0
        assert build(["run", "--select", "doubled"]) == {"doubled": "ALTERED"}
        assert sql.right("doubled") and sql.value("SELECT count(*) FROM doubled") == 3

    def test_defer(self, project, sql):
        run_dbt(["compile", "--target-path", "state"])
        results = run_dbt(["run", "--select", "doubled", "--defer", "--state", "state", "--favor-state", "--vars", "{}"])
        assert results[0].message.startswith("UNCHANGED")

    def test_run_results(self, project):
        results = json.loads(read_file("target", "run_results.json"))
        assert results["results"][0]["adapter_response"]["code"] == "UNCHANGED"
        _, log = run_dbt_and_capture(["--no-use-colors", "run", "--select", "m"])
        assert "OK created sql stream_table model" in log and "[UNCHANGED in" in log


class TestFullRefreshFalse:
    @pytest.fixture(scope="class")
    def models(self):
        return {"m.sql": "{{ config(materialized='stream_table', schedule=none, full_refresh=false) }} select 1 as x"}

    def test_protected(self, project, sql):
        assert build()["m"] == "CREATED"
        assert build(["run", "--full-refresh"])["m"] == "UNCHANGED"


class TestSnapshotOfStreamTable:
    @pytest.fixture(scope="class")
    def models(self):
        return {"m.sql": "{{ config(materialized='stream_table', schedule=none) }} select id, name from {{ target.schema }}.raw",
                "tab.sql": "{{ config(materialized='table') }} select * from {{ ref('m') }}",
                "inc.sql": "{{ config(materialized='incremental', unique_key='id') }} select * from {{ ref('m') }}"}

    @pytest.fixture(scope="class")
    def snapshots(self):
        return {"snap.sql": "{% snapshot snap %}{{ config(target_schema=schema, unique_key='id', strategy='check', check_cols=['name']) }}"
                            " select * from {{ ref('m') }} {% endsnapshot %}"}

    def test_downstream(self, project, sql):
        sql("CREATE TABLE raw (id int PRIMARY KEY, name text); INSERT INTO raw VALUES (1, 'a'), (2, 'b')")
        run_dbt(["build"])
        sql("UPDATE raw SET name = 'z' WHERE id = 2")
        sql.refresh("m")
        run_dbt(["build"])
        assert sql("SELECT id, name, dbt_valid_to IS NULL FROM snap ORDER BY 1, 3") == [(1, "a", True), (2, "b", False), (2, "z", True)]
        assert sql("SELECT id, name FROM inc ORDER BY 1") == [(1, "a"), (2, "z")]
