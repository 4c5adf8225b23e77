"""Docs catalog, source freshness, operations, generic tests."""
import json

import pytest
from dbt.tests.util import read_file, run_dbt, run_dbt_and_capture, write_file
from util import build

SOURCES = """
version: 2
sources:
  - name: live
    schema: "{{ target.schema }}"
    loaded_at_field: dbt_pgstream
    freshness: {warn_after: {count: 1, period: hour}, error_after: {count: 2, period: hour}}
    tables:
      - name: m
"""
OTHER_SOURCES = """
      - name: raw
      - name: raw_at
        identifier: raw
        loaded_at_field: at
"""
MODELS_YML = """
version: 2
models:
  - name: m
    description: live
    data_tests: [dbt_pgstream.pgstream_not_stale, dbt_pgstream.pgstream_no_errors, dbt_pgstream.pgstream_verified]
"""


class TestCatalog:
    @pytest.fixture(scope="class")
    def models(self):
        return {
            "m.sql": "{{ config(materialized='stream_table', schedule='5m', persist_docs={'relation': true}) }} select id, at from {{ target.schema }}.raw",
            "v.sql": "select * from {{ ref('m') }}",
            "t.sql": "{{ config(materialized='table') }} select 1 as x",
            "sources.yml": SOURCES,
            "models.yml": MODELS_YML,
        }

    def prepare(self, sql):
        sql("CREATE TABLE IF NOT EXISTS raw (id int, at timestamptz)")
        sql("TRUNCATE raw; INSERT INTO raw VALUES (1, now()), (2, now())")

    def check(self):
        nodes = json.loads(read_file("target", "catalog.json"))
        assert not nodes["errors"]
        m = nodes["nodes"]["model.test.m"]
        assert m["metadata"]["type"] == "stream_table" and m["metadata"]["comment"] == "live"
        assert list(m["columns"]) == ["id", "at"]
        stats = {k: v["value"] for k, v in m["stats"].items() if v["include"]}
        assert stats["schedule"] == "5m" and stats["refresh_mode"] == "DIFFERENTIAL" and stats["status"] == "ACTIVE"
        assert stats["last_refresh"].endswith(" UTC") and stats["staleness"] >= 0 and stats["row_count"] == 2
        assert nodes["nodes"]["model.test.v"]["metadata"]["type"] == "VIEW"
        assert nodes["nodes"]["model.test.t"]["metadata"]["type"] == "BASE TABLE"
        assert not [v for v in nodes["nodes"]["model.test.t"]["stats"].values() if v["include"]]

    def test_docs(self, project, sql):
        self.prepare(sql)
        run_dbt(["run"])
        sql("ANALYZE m")
        run_dbt(["docs", "generate"])
        self.check()

    def test_docs_of_many_relations(self, project, sql):
        """Above a hundred relations dbt asks for whole schemas."""
        many = "".join(f"      - name: many_{i}\n" for i in range(120))
        for i in range(120):
            sql(f"CREATE TABLE many_{i} (x int)")
        write_file(SOURCES + many, "models", "sources.yml")
        run_dbt(["docs", "generate"])
        self.check()
        write_file(SOURCES, "models", "sources.yml")

    def test_freshness(self, project, sql):
        results = run_dbt(["source", "freshness"])
        assert [(r.node.name, str(r.status)) for r in results] == [("m", "pass")]
        assert results[0].age < 600
        sql("UPDATE dbt_pgstream_internal.stream SET last_refresh_at = now() - interval '90 minutes'")
        assert str(run_dbt(["source", "freshness"])[0].status) == "warn"
        sql("UPDATE dbt_pgstream_internal.stream SET last_refresh_at = now() - interval '3 hours'")
        assert str(run_dbt(["source", "freshness"], expect_pass=False)[0].status) == "error"
        sql.refresh("m")
        # not a stream table: said so; a real column: dbt's own way
        write_file(SOURCES + OTHER_SOURCES, "models", "sources.yml")
        results = {r.node.name: r for r in run_dbt(["source", "freshness"], expect_pass=False)}
        assert "is not a stream table" in results["raw"].message
        assert str(results["m"].status) == "pass" and str(results["raw_at"].status) == "pass"
        write_file(SOURCES, "models", "sources.yml")

    def test_generic_tests(self, project, sql):
        sql.refresh("m")
        assert all(str(r.status) == "pass" for r in run_dbt(["test"]))
        sql("INSERT INTO raw VALUES (3, now())")
        statuses = {r.node.name.split("_m_")[0]: str(r.status) for r in run_dbt(["test"], expect_pass=False)}
        assert statuses["dbt_pgstream_pgstream_verified"] == "fail" and statuses["dbt_pgstream_pgstream_no_errors"] == "pass"
        sql("UPDATE dbt_pgstream_internal.stream SET last_refresh_at = now() - interval '3 hours', errors = 1")
        statuses = {r.node.name.split("_m_")[0]: str(r.status) for r in run_dbt(["test"], expect_pass=False)}
        assert set(statuses.values()) == {"fail"}
        sql.refresh("m")
        assert all(str(r.status) == "pass" for r in run_dbt(["test"]))
        # on something that is no stream table they fail, too
        write_file(MODELS_YML.replace("name: m", "name: t").replace(", dbt_pgstream.pgstream_verified", ""), "models", "models.yml")
        assert {str(r.status) for r in run_dbt(["test"], expect_pass=False)} == {"fail"}
        write_file(MODELS_YML, "models", "models.yml")

    def operation(self, name, args=None, expect_pass=True):
        _, log = run_dbt_and_capture(["--no-use-colors", "run-operation", name, "--args", json.dumps(args or {})], expect_pass=expect_pass)
        return log

    def test_operations(self, project, sql):
        m = {"model_name": "m"}
        sql("INSERT INTO raw VALUES (4, now())")
        log = self.operation("refresh", m)
        assert "COMPLETED" in log and "MANUAL" in log
        assert sql.right("m")
        assert f"{project.test_schema}.m  " in self.operation("status")
        assert "source" in self.operation("explain", m)
        assert f"{project.test_schema}.raw" in self.operation("cdc_health")
        log = self.operation("refresh_history", {"model_name": "m", "limit": 2})
        lines = [line for line in log.splitlines() if "COMPLETED" in line or "start_time" in line]
        assert len(lines) == 3
        header, first = lines[0], lines[1]
        assert first.index("COMPLETED") == header.index("status")     # aligned
        self.operation("pause", m)
        assert sql.value("SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'm' AND pgs_schema = current_schema") == "PAUSED"
        assert build(["run", "--select", "m"])["m"] == "UNCHANGED"
        assert sql.value("SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'm' AND pgs_schema = current_schema") == "PAUSED"
        self.operation("resume", m)
        assert sql.value("SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'm' AND pgs_schema = current_schema") == "ACTIVE"
        assert "True" in self.operation("verify", m)
        sql("INSERT INTO raw VALUES (5, now())")
        assert "differs from its query: 1 rows missing, 0 too many" in self.operation("verify", m, expect_pass=False)
        self.operation("repair", {"model_name": f"{project.test_schema}.m"})
        self.operation("refresh_all")
        assert sql.right("m")
        assert "no model is named" in self.operation("refresh", {"model_name": "nosuch"}, expect_pass=False)
        assert "model_name is missing" in self.operation("refresh", {"model_name": ""}, expect_pass=False)
        assert "is not a stream table" in self.operation("refresh", {"model_name": "t"}, expect_pass=False)

    def test_failed_refresh_all(self, project, sql):
        sql("CREATE TABLE broken_src (x int); INSERT INTO broken_src VALUES (1)")
        sql(f"SELECT dbt_pgstream.create_stream_table('{project.test_schema}.broken', 'SELECT 1 / x AS q FROM {project.test_schema}.broken_src', NULL)")
        sql("UPDATE broken_src SET x = 0")
        sql("INSERT INTO raw VALUES (6, now())")
        assert "1 stream tables could not be refreshed" in self.operation("refresh_all", expect_pass=False)
        assert sql.right("m")
        sql("DROP TABLE broken")

    def test_hidden_columns(self, project, sql):
        """Columns of another engine's stream table (a row in a TEST DOUBLE of its catalog) stay hidden; a user's own don't."""
        sql("CREATE TABLE plain (__pgs_mine int, x int)")
        write_file("{% macro columns_of(name) %}{{ print('COLUMNS ' ~ adapter.get_columns_in_relation(api.Relation.create(schema=target.schema, "
                   "identifier=name)) | map(attribute='name') | join(',') ~ ' END') }}{% endmacro %}", "macros", "columns_of.sql")
        assert "COLUMNS __pgs_mine,x END" in self.operation("columns_of", {"name": "plain"})
        sql("SET allow_system_table_mods = on; INSERT INTO pg_extension SELECT (SELECT max(oid::int8) + 10 FROM pg_extension), 'pg_stream', 10, 2200, false, 'double'")
        try:
            sql("CREATE SCHEMA pgstream")
            sql(f"CREATE VIEW pgstream.pgs_stream_tables AS SELECT 1::bigint AS pgs_id, 'plain'::regclass::oid AS pgs_relid, 'plain' AS pgs_name, '{project.test_schema}' AS pgs_schema,"
                " 'select 1 as x'::text AS defining_query, '1m'::text AS schedule, 'FULL'::text AS refresh_mode, 'ACTIVE'::text AS status, true AS is_populated,"
                " now() AS last_refresh_at, 0 AS consecutive_errors")
            sql(f"CREATE VIEW pgstream.pg_stat_stream_tables AS SELECT 'plain' AS pgs_name, '{project.test_schema}' AS pgs_schema, '1 s'::interval AS staleness, false AS stale, 1::bigint AS total_refreshes")
            assert "COLUMNS x END" in self.operation("columns_of", {"name": "plain"})
        finally:
            sql("DELETE FROM pg_extension WHERE extname = 'pg_stream'; DROP SCHEMA pgstream CASCADE")
