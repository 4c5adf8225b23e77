-- what dbt's macros call, besides the upsert
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA "Fn";
SET search_path = "Fn", public;
CREATE TABLE t (id int PRIMARY KEY, "Weird Col" varchar(10), n numeric(10, 2));
COMMENT ON TABLE t IS 'a table';
CREATE VIEW v AS SELECT id FROM t;
CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, "Weird Col", n FROM t', NULL);
COMMENT ON TABLE st IS 'a stream table';
COMMENT ON COLUMN st.n IS 'amount';
SELECT database = current_database() AS db, schema, name, type FROM dbt_pgstream.list_relations('fn') ORDER BY name;
SELECT * FROM dbt_pgstream.list_relations('nosuch');
SELECT * FROM dbt_pgstream.columns_in_relation('Fn', 'st');
SELECT * FROM dbt_pgstream.columns_in_relation('Fn', 'v');
SELECT * FROM dbt_pgstream.columns_in_relation('Fn', 'nosuch');
SELECT max_loaded_at = (SELECT last_refresh_at FROM dbt_pgstream.pgs_stream_tables) AS as_refreshed, snapshotted_at >= max_loaded_at AS later, age_seconds >= 0 AS aged
FROM dbt_pgstream.freshness('Fn', 'st');
SELECT * FROM dbt_pgstream.freshness('Fn', 't');
SELECT * FROM dbt_pgstream.freshness('Fn', 'nosuch');
ANALYZE st;
\x on
SELECT table_schema, table_name, table_type, table_comment, column_name, column_index, column_type, column_comment, pgstream_schedule, pgstream_refresh_mode,
    pgstream_status, "stats:schedule:label", "stats:schedule:value", "stats:schedule:description", "stats:schedule:include", "stats:status:value",
    "stats:last_refresh:value" ~ '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$' AS last_refresh, "stats:staleness:value" >= 0 AS staleness, "stats:row_count:value", "stats:row_count:include"
FROM dbt_pgstream.catalog_relations('[{"schema": "fn", "identifier": "ST"}, {"schema": "Fn", "identifier": "v"}]');
\x off
SELECT DISTINCT table_name, table_type, "stats:status:include" FROM dbt_pgstream.catalog_relations('Fn') ORDER BY 1;
SELECT count(*) FROM dbt_pgstream.catalog_relations('[]');
SELECT count(*) FROM dbt_pgstream.catalog_relations('[{"schema": "Fn"}]');
-- each stat has all four of its columns, and nothing but text, numbers and booleans
SELECT s.id, count(*), array_agg(DISTINCT p ORDER BY p) FROM pg_attribute, LATERAL (SELECT split_part(attname, ':', 2) AS id, split_part(attname, ':', 3) AS p) s
WHERE attrelid = 'dbt_pgstream_internal.catalog_row'::regclass AND attname LIKE 'stats:%' GROUP BY 1 ORDER BY 1;
DROP SCHEMA "Fn" CASCADE;
