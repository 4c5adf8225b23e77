-- The SQL contract: names, arguments, results and privileges that users and the dbt package rely on.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS dbt_pgstream;
BEGIN;
SELECT no_plan();

-- functions: every overload, its arguments with defaults, its result
PREPARE found AS
SELECT f FROM (SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ')' || ' -> ' || pg_get_function_result(p.oid) COLLATE "default" AS f
FROM pg_proc p WHERE pronamespace = 'dbt_pgstream'::regnamespace AND proname <> 'catalog_relations') x ORDER BY 1;
PREPARE wanted AS SELECT * FROM (VALUES
    ('alter_stream_table(name text, query text DEFAULT NULL::text, schedule text DEFAULT NULL::text, refresh_mode text DEFAULT NULL::text, status text DEFAULT NULL::text) -> void'),
    ('check_cdc_health(OUT source_table text, OUT cdc_mode text, OUT slot_name text, OUT lag_bytes bigint, OUT confirmed_lsn text, OUT pending_rows bigint, OUT alert text) -> SETOF record'),
    ('check_query(query text, OUT block text, OUT rule text, OUT reason text, OUT hint text) -> SETOF record'),
    ('columns_in_relation(schema_name text, table_name text, OUT column_name text, OUT data_type text, OUT character_maximum_length integer, OUT numeric_precision integer, OUT numeric_scale integer) -> SETOF record'),
    ('create_stream_table(name text, query text, schedule text DEFAULT ''1m''::text, refresh_mode text DEFAULT ''DIFFERENTIAL''::text, initialize boolean DEFAULT true) -> void'),
    ('drop_stream_table(name text, cascade boolean DEFAULT false) -> void'),
    ('explain_st(name text, OUT property text, OUT value text) -> SETOF record'),
    ('freshness(schema_name text, table_name text, OUT max_loaded_at timestamp with time zone, OUT snapshotted_at timestamp with time zone, OUT age_seconds double precision) -> SETOF record'),
    ('get_refresh_history(name text, max_rows integer DEFAULT 20, OUT refresh_id bigint, OUT start_time timestamp with time zone, OUT end_time timestamp with time zone, OUT action text, OUT status text, OUT rows_inserted bigint, OUT rows_updated bigint, OUT rows_deleted bigint, OUT duration_ms double precision, OUT initiated_by text, OUT error_message text) -> SETOF record'),
    ('list_relations(schema_name text, OUT database text, OUT schema text, OUT name text, OUT type text) -> SETOF record'),
    ('refresh_all() -> integer'),
    ('refresh_stream_table(name text) -> void'),
    ('repair_stream_table(name text) -> void'),
    ('upsert_stream_table(schema_name text, table_name text, query text, options jsonb DEFAULT ''{}''::jsonb, full_refresh boolean DEFAULT false, OUT action text, OUT detail text) -> record'),
    ('verify_stream_table(name text, OUT missing bigint, OUT unexpected bigint, OUT ok boolean) -> SETOF record')
) x (f) ORDER BY 1;
SELECT set_eq('found', 'wanted', 'functions of the public schema');
SELECT has_function('dbt_pgstream', 'catalog_relations', ARRAY['jsonb']);
SELECT has_function('dbt_pgstream', 'catalog_relations', ARRAY['text']);

-- views and their columns
SELECT set_eq($$SELECT relname::text FROM pg_class WHERE relnamespace = 'dbt_pgstream'::regnamespace AND relkind IN ('r', 'v')$$,
              ARRAY['pgs_stream_tables', 'pgs_dependencies', 'pgs_refresh_history', 'pg_stat_stream_tables'], 'relations of the public schema');
SELECT columns_are('dbt_pgstream', 'pgs_stream_tables', ARRAY['pgs_id', 'pgs_relid', 'pgs_name', 'pgs_schema', 'defining_query', 'schedule', 'refresh_mode',
    'status', 'is_populated', 'last_refresh_at', 'consecutive_errors', 'last_error', 'retry_at', 'created_at', 'owner']);
SELECT columns_are('dbt_pgstream', 'pgs_dependencies', ARRAY['pgs_id', 'source_relid', 'source_type', 'columns_used', 'cdc_mode', 'slot_name']);
SELECT columns_are('dbt_pgstream', 'pg_stat_stream_tables', ARRAY['pgs_schema', 'pgs_name', 'status', 'refresh_mode', 'schedule', 'is_populated',
    'last_refresh_at', 'staleness', 'stale', 'consecutive_errors', 'total_refreshes', 'rows_inserted', 'rows_updated', 'rows_deleted', 'avg_duration_ms',
    'last_action', 'engine', 'pgs_relid', 'next_try_at']);
SELECT columns_are('dbt_pgstream', 'pgs_refresh_history', ARRAY['refresh_id', 'pgs_id', 'pgs_relid', 'start_time', 'end_time', 'action', 'status',
    'rows_inserted', 'rows_updated', 'rows_deleted', 'duration_ms', 'initiated_by', 'error_message', 'reason']);

-- a COMMENT on each object of the extension that a comment can be on (row types and arrays aside)
SELECT is_empty($$
    SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dbt_pgstream') AND deptype = 'e'
      AND classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::name) IS NULL
      AND NOT (classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = objid AND relkind IN ('S', 'i')))$$,
    'every object has a comment');

-- what PUBLIC may and may not
SELECT ok(has_schema_privilege('public', 'dbt_pgstream', 'USAGE') AND NOT has_schema_privilege('public', 'dbt_pgstream', 'CREATE'), 'public schema: use, not create');
SELECT ok(NOT has_schema_privilege('public', 'dbt_pgstream_internal', 'CREATE'), 'internal schema: nobody creates');
SELECT ok(NOT has_table_privilege('public', 'dbt_pgstream_internal.stream', 'SELECT, INSERT, UPDATE, DELETE'), 'catalog: out of reach');
SELECT ok(NOT has_table_privilege('public', 'dbt_pgstream_internal.history', 'SELECT, INSERT, UPDATE, DELETE'), 'history: out of reach');
SELECT ok(has_table_privilege('public', 'dbt_pgstream.' || v, 'SELECT'), v || ' can be read')
FROM unnest(ARRAY['pgs_stream_tables', 'pgs_dependencies', 'pgs_refresh_history', 'pg_stat_stream_tables']) v;
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace IN ('dbt_pgstream'::regnamespace, 'dbt_pgstream_internal'::regnamespace) AND prosecdef$$,
    'no function runs with rights of its maker');

-- settings
SELECT dbt_pgstream_internal.scheduler_running() \gset
SELECT set_eq($$SELECT name FROM pg_settings WHERE name LIKE 'dbt_pgstream.%'$$, ARRAY['dbt_pgstream.engine', 'dbt_pgstream.scheduler',
    'dbt_pgstream.max_workers', 'dbt_pgstream.launcher_naptime', 'dbt_pgstream.max_consecutive_errors', 'dbt_pgstream.retry_base',
    'dbt_pgstream.retry_max', 'dbt_pgstream.history_retention', 'dbt_pgstream.full_refresh_factor'], 'settings');

-- errors have the SQLSTATE that the comments promise
CREATE TABLE contract_src (id int);
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('x', 'SELECT 1; SELECT 2')$$, '42601');
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('contract_src', 'SELECT 1 AS a')$$, '42P07');
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('x', 'SELECT random() AS a')$$, '0A000');
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('x', 'SELECT 1 AS a', 'often')$$, '22023');
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('x', 'SELECT 1 AS a', NULL, 'MAGIC')$$, '22023');
SELECT throws_ok($$SELECT dbt_pgstream.create_stream_table('x', 'SELECT 1 AS a, 2 AS a')$$, '42701');
SELECT throws_ok($$SELECT dbt_pgstream.refresh_stream_table('contract_src')$$, '42809');
SELECT throws_ok($$SELECT dbt_pgstream.refresh_stream_table('no_such_table')$$, '42P01');
SELECT dbt_pgstream.create_stream_table('contract_st', 'SELECT id FROM contract_src', NULL);
SELECT throws_ok($$INSERT INTO contract_st VALUES (1)$$, '42809');
SELECT columns_are('public', 'contract_st', ARRAY['id'], 'what you SELECT is what you get');
SELECT * FROM finish();
ROLLBACK;
