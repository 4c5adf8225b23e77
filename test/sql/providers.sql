-- pg_stream and pg_trickle behind our functions, against a TEST DOUBLE of each (test/double/engine.sql): calls are recorded
\set SHOW_CONTEXT never
\getenv test_dir PG_ABS_SRCDIR
\set make_double :test_dir '/double/engine.sql'
\set remove_double :test_dir '/double/remove.sql'
SET client_min_messages = warning;
CREATE SCHEMA ext;
CREATE TABLE ext.src (id int PRIMARY KEY, v int);
INSERT INTO ext.src VALUES (1, 1), (2, 2);
-- asked for, but not installed
SET dbt_pgstream.engine = 'pg_stream';
SELECT dbt_pgstream.create_stream_table('ext.x', 'SELECT id FROM ext.src');
SET dbt_pgstream.engine = 'pg_trickle';
SELECT dbt_pgstream.create_stream_table('ext.x', 'SELECT id FROM ext.src');
SET dbt_pgstream.engine = 'nosuch';
RESET dbt_pgstream.engine;
SELECT * FROM dbt_pgstream_internal.external_streams();

\set schema pgstream
\set prefix pgs
\set extension pg_stream
\set ECHO none
\i :make_double
\set ECHO all
\set schema pgtrickle
\set prefix pgt
\set extension pg_trickle
\set ECHO none
\i :make_double
\set ECHO all

-- auto: new ones are ours, old ones stay with their engine
SELECT dbt_pgstream.create_stream_table('ext.ours', 'SELECT id, v FROM ext.src', NULL);
SET dbt_pgstream.engine = 'pg_stream';
SELECT dbt_pgstream.create_stream_table('ext."The one"', 'SELECT id, v FROM ext.src', '5m', 'FULL', false);
SET dbt_pgstream.engine = 'pg_trickle';
SELECT dbt_pgstream.create_stream_table('ext.two', 'SELECT id, v FROM ext.src', 'calculated', 'AUTO');
RESET dbt_pgstream.engine;
SELECT dbt_pgstream.refresh_stream_table(n) FROM unnest(ARRAY['ext.ours', 'ext."The one"', 'ext.two']) n;
SELECT dbt_pgstream.alter_stream_table('ext."The one"', schedule => '1h', status => 'SUSPENDED');
SELECT dbt_pgstream.alter_stream_table('ext."The one"', 'SELECT 1 AS id');
SELECT dbt_pgstream.alter_stream_table('ext.two', 'SELECT id FROM ext.src', status => 'PAUSED');
SELECT dbt_pgstream.repair_stream_table('ext."The one"');
SELECT dbt_pgstream.repair_stream_table('ext.two');
SELECT * FROM dbt_pgstream.explain_st('ext."The one"');
SELECT * FROM dbt_pgstream.explain_st('ext.two');
SELECT refresh_id, action, status, rows_inserted, rows_updated, rows_deleted, duration_ms, initiated_by, error_message FROM dbt_pgstream.get_refresh_history('ext.two', 2);
SELECT * FROM dbt_pgstream.check_cdc_health() ORDER BY 1, 7;
SELECT pgs_schema, pgs_name, engine, status, refresh_mode, schedule, stale, total_refreshes FROM dbt_pgstream.pg_stat_stream_tables ORDER BY 2;
SELECT * FROM dbt_pgstream.verify_stream_table('ext.two');

-- dbt's functions: hidden columns left out, types and freshness told
SELECT * FROM dbt_pgstream.columns_in_relation('ext', 'The one');
SELECT * FROM dbt_pgstream.columns_in_relation('ext', 'two');
SELECT name, type FROM dbt_pgstream.list_relations('ext') ORDER BY 1;
SELECT table_name, table_type, column_name, pgstream_schedule, pgstream_refresh_mode, pgstream_status FROM dbt_pgstream.catalog_relations('ext') ORDER BY 1, 3;
SELECT max_loaded_at = '2026-01-01Z', age_seconds > 0 FROM dbt_pgstream.freshness('ext', 'two');

-- the upsert: stays with the engine that owns it; moves when told
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'two', 'select Id, v  from ext.src', '{"schedule": "calculated", "refresh_mode": "AUTO"}');
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'two', 'SELECT id, v FROM ext.src', '{"schedule": "2h"}');
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'two', 'SELECT id FROM ext.src', '{"schedule": "2h", "engine": "pg_trickle"}');
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'The one', 'SELECT id FROM ext.src', '{"engine": "pg_stream"}');
SELECT action, regexp_replace(detail, '\d+ ms', 'N ms') FROM dbt_pgstream.upsert_stream_table('ext', 'two', 'SELECT id FROM ext.src', '{"engine": "builtin", "schedule": null}');
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'ours', 'SELECT id FROM ext.src', '{"engine": "pg_trickle", "schedule": "5m"}');
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'fresh', 'SELECT v FROM ext.src', '{"engine": "pg_stream", "schedule": null}');
-- the text that the engine holds can't be analysed any more
ALTER TABLE ext.src RENAME v TO w;
SELECT * FROM dbt_pgstream.upsert_stream_table('ext', 'fresh', 'SELECT w FROM ext.src', '{"engine": "pg_stream", "schedule": null}');
ALTER TABLE ext.src RENAME w TO v;
SELECT dbt_pgstream.drop_stream_table('ext.fresh', true);
SELECT dbt_pgstream.drop_stream_table('ext.fresh');
SELECT dbt_pgstream.drop_stream_table('ext.ours', true);
SELECT pgs_name, engine FROM dbt_pgstream.pg_stat_stream_tables ORDER BY 1;
SELECT call FROM pgstream.calls ORDER BY n;
SELECT call FROM pgtrickle.calls ORDER BY n;

\set schema pgstream
\set extension pg_stream
\set ECHO none
\i :remove_double
\set ECHO all
\set schema pgtrickle
\set extension pg_trickle
\set ECHO none
\i :remove_double
\set ECHO all
DROP SCHEMA ext CASCADE;
