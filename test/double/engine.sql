-- A TEST DOUBLE of pg_stream and pg_trickle: not an engine.  It has their SQL surface as far as dbt_pgstream calls it,
-- keeps the catalogs, makes tables with the hidden columns, and records every call in <schema>.calls.  The row in
-- pg_extension makes the extension look installed.
-- Variables: schema (pgstream, pgtrickle), prefix (pgs, pgt), extension (pg_stream, pg_trickle).
SET allow_system_table_mods = on;
INSERT INTO pg_extension SELECT (SELECT max(oid::int8) FROM pg_extension)::int8 + 10, :'extension', 10, 2200, false, 'double', NULL, NULL;
RESET allow_system_table_mods;
CREATE SCHEMA :schema;
SET search_path = :schema;
SET check_function_bodies = off;
CREATE TABLE calls (n int GENERATED ALWAYS AS IDENTITY, call text);
CREATE TABLE base (id bigint GENERATED ALWAYS AS IDENTITY, relid oid, name text, schema text, query text,
    schedule text, refresh_mode text, status text, populated bool, refreshed_at timestamptz);
SELECT format($$
CREATE VIEW %2$s_stream_tables AS SELECT id AS %2$s_id, relid AS %2$s_relid, name AS %2$s_name, schema AS %2$s_schema,
    query || ' /* rewritten */' AS defining_query, query AS original_query, schedule, refresh_mode, status, populated AS is_populated,
    refreshed_at AS last_refresh_at, 0 AS consecutive_errors FROM base;
CREATE VIEW pg_stat_stream_tables AS SELECT name AS %2$s_name, schema AS %2$s_schema, '1 s'::interval AS staleness, false AS stale,
    7::bigint AS total_refreshes FROM base;
CREATE FUNCTION create_stream_table(name text, query text, schedule text DEFAULT '1m', refresh_mode text DEFAULT 'DIFFERENTIAL',
    initialize bool DEFAULT true) RETURNS void LANGUAGE plpgsql AS $f$
#variable_conflict use_variable
BEGIN
    INSERT INTO %1$s.calls (call) VALUES (format('create(%%s, %%s, %%s, %%s, %%s)', name, query, schedule, refresh_mode, initialize));
    EXECUTE format('CREATE TABLE %%s AS SELECT 1::bigint AS __%2$s_row_id, * FROM (%%s) q', name, query);
    INSERT INTO %1$s.base (relid, name, schema, query, schedule, refresh_mode, status, populated, refreshed_at)
    SELECT oid, relname, relnamespace::regnamespace::text, query, create_stream_table.schedule, create_stream_table.refresh_mode, 'ACTIVE', true, '2026-01-01Z'
    FROM pg_class WHERE oid = name::regclass;
END $f$;
CREATE FUNCTION drop_stream_table(name text%3$s) RETURNS void LANGUAGE plpgsql AS $f$
#variable_conflict use_variable
BEGIN
    INSERT INTO %1$s.calls (call) VALUES (format('drop(%%s)', name));
    DELETE FROM %1$s.base WHERE relid = name::regclass;
    EXECUTE 'DROP TABLE ' || name;
END $f$;
CREATE FUNCTION alter_stream_table(name text, schedule text DEFAULT NULL, refresh_mode text DEFAULT NULL, status text DEFAULT NULL%4$s)
RETURNS void LANGUAGE plpgsql AS $f$
#variable_conflict use_variable
BEGIN
    INSERT INTO %1$s.calls (call) VALUES (format('alter(%%s, %%s, %%s, %%s)', name, schedule, refresh_mode, status));
    UPDATE %1$s.base b SET schedule = COALESCE(schedule, b.schedule),
        refresh_mode = COALESCE(refresh_mode, b.refresh_mode), status = COALESCE(status, b.status)
    WHERE relid = name::regclass;
END $f$;
CREATE FUNCTION refresh_stream_table(name text) RETURNS void LANGUAGE sql AS $f$
    INSERT INTO %1$s.calls (call) VALUES (format('refresh(%%s)', name)) $f$;
CREATE FUNCTION repair_stream_table(name text) RETURNS text LANGUAGE sql AS $f$
    INSERT INTO %1$s.calls (call) VALUES (format('repair(%%s)', name)) RETURNING 'repaired' $f$;
CREATE FUNCTION explain_st(name text, OUT property text, OUT value text) RETURNS SETOF record LANGUAGE sql AS $f$
    VALUES ('explained by', '%1$s'), ('name', name) $f$;
CREATE FUNCTION check_cdc_health(OUT source_relid bigint, OUT source_table text, OUT cdc_mode text, OUT slot_name text,
    OUT lag_bytes bigint, OUT confirmed_lsn text, OUT alert text) RETURNS SETOF record LANGUAGE sql AS $f$
    VALUES (1::bigint, 'double.src', 'TRIGGER', NULL::text, NULL::bigint, NULL::text, 'as ' || '%1$s') $f$;
CREATE FUNCTION get_refresh_history(name text, max_rows int DEFAULT 20, OUT refresh_id bigint, OUT data_timestamp timestamptz,
    OUT start_time timestamptz, OUT end_time timestamptz, OUT action text, OUT status text, OUT rows_inserted bigint,
    OUT rows_deleted bigint, OUT duration_ms float8, OUT error_message text) RETURNS SETOF record LANGUAGE sql AS $f$
    SELECT i::bigint, NULL::timestamptz, '2026-01-01Z'::timestamptz, '2026-01-01 00:00:01Z'::timestamptz, 'FULL', 'COMPLETED', 5::bigint, 1::bigint, 3.5::float8, NULL::text
    FROM generate_series(max_rows, 1, -1) i $f$;
$$, :'schema', :'prefix', CASE :'prefix' WHEN 'pgt' THEN ', cascade bool DEFAULT false' ELSE '' END,
    CASE :'prefix' WHEN 'pgt' THEN ', query text DEFAULT NULL' ELSE '' END) \gexec
RESET check_function_bodies;
RESET search_path;
