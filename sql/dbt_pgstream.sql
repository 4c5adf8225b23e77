-- dbt_pgstream: schema dbt_pgstream is the public surface, dbt_pgstream_internal what it stands on.
\echo Use "CREATE EXTENSION dbt_pgstream" to load this file. \quit

-- made here, not by the control file's "schema": then they belong to the extension, and go with it
CREATE SCHEMA dbt_pgstream;
CREATE SCHEMA dbt_pgstream_internal;
COMMENT ON SCHEMA dbt_pgstream_internal IS 'Catalogs of dbt_pgstream and the queries of its stream tables. Not for direct use.';
COMMENT ON SCHEMA dbt_pgstream IS 'Stream tables: results of queries that PostgreSQL keeps up to date.';
GRANT USAGE ON SCHEMA dbt_pgstream, dbt_pgstream_internal TO PUBLIC;

---------------------------------------------------------------------------------------------------------------------
-- Catalogs

CREATE TABLE dbt_pgstream_internal.stream (
    pgs_id          bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT stream_pkey PRIMARY KEY,
    relid           regclass NOT NULL CONSTRAINT stream_relid_key UNIQUE,
    viewid          regclass,
    user_query      text NOT NULL,
    query_sql       text NOT NULL,
    schedule        text,
    mode            text NOT NULL,
    status          text NOT NULL,
    populated       boolean NOT NULL,
    last_refresh_at timestamptz,
    refresh_xid     xid8,
    errors          integer NOT NULL,
    last_error      text,
    retry_at        timestamptz,
    settings        text[] NOT NULL,
    key             int2[],
    total_refreshes bigint NOT NULL,
    rows_inserted   bigint NOT NULL,
    rows_updated    bigint NOT NULL,
    rows_deleted    bigint NOT NULL,
    total_ms        double precision NOT NULL,
    last_action     text,
    created_at      timestamptz NOT NULL,
    data_only       boolean NOT NULL,
    frontier        pg_snapshot,
    frontier_cid    bigint NOT NULL,
    frontier_home   text,
    frontier_time   timestamptz
);
COMMENT ON TABLE dbt_pgstream_internal.stream IS 'One row for each stream table of the builtin engine; see src/catalog/pgs_catalog.h.';

CREATE TABLE dbt_pgstream_internal.history (
    refresh_id      bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT history_pkey PRIMARY KEY,
    pgs_id          bigint NOT NULL,
    start_time      timestamptz NOT NULL,
    end_time        timestamptz NOT NULL,
    action          text NOT NULL,
    status          text NOT NULL,
    rows_inserted   bigint NOT NULL,
    rows_updated    bigint NOT NULL,
    rows_deleted    bigint NOT NULL,
    duration_ms     double precision NOT NULL,
    initiated_by    text NOT NULL,
    error_message   text,
    reason          text
);
CREATE INDEX history_stream_time ON dbt_pgstream_internal.history (pgs_id, start_time);
COMMENT ON TABLE dbt_pgstream_internal.history IS 'Refreshes of the last dbt_pgstream.history_retention hours.';

-- not part of a dump, as are change buffers and states: they would mean nothing elsewhere
CREATE TABLE dbt_pgstream_internal.change (
    relid           oid NOT NULL,
    kind            "char" NOT NULL,
    xid             xid8 NOT NULL,
    cid             bigint NOT NULL
);
COMMENT ON TABLE dbt_pgstream_internal.change IS
'Change marks: what no change buffer tells. relid 0 concerns everything. kind r: rows were written (TRUNCATE), d: DDL, c: DDL of functions and types. See src/capture.';

CREATE TABLE dbt_pgstream_internal.source (
    relid           oid CONSTRAINT source_pkey PRIMARY KEY,
    buffer_a        oid NOT NULL,
    buffer_b        oid NOT NULL,
    current         smallint NOT NULL,
    eager           boolean NOT NULL,
    members         oid[] NOT NULL
);
COMMENT ON TABLE dbt_pgstream_internal.source IS
'Captured sources: the two segments of the change buffer, which of them is written now (0, 1), whether a commit of changes wakes the scheduler, and the relations whose triggers write to it.';

SELECT pg_catalog.pg_extension_config_dump('dbt_pgstream_internal.stream', '');
SELECT pg_catalog.pg_extension_config_dump('dbt_pgstream_internal.stream_pgs_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('dbt_pgstream_internal.history', '');
SELECT pg_catalog.pg_extension_config_dump('dbt_pgstream_internal.history_refresh_id_seq', '');

---------------------------------------------------------------------------------------------------------------------
-- Internal functions

CREATE FUNCTION dbt_pgstream_internal.row_image(record) RETURNS bytea
AS 'MODULE_PATHNAME', 'pgs_row_image' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION dbt_pgstream_internal.row_image(record) IS
'Canonical bytes of a row: equal exactly where two rows have equal images, for types without equality too.';

CREATE FUNCTION dbt_pgstream_internal.values_image(VARIADIC "any") RETURNS bytea
AS 'MODULE_PATHNAME', 'pgs_values_image' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION dbt_pgstream_internal.values_image("any") IS
'The image of the row that some values make: row_image(ROW(...)), but quicker.';

CREATE FUNCTION dbt_pgstream_internal.fixed_text(text) RETURNS text
AS 'MODULE_PATHNAME', 'pgs_fixed_text' LANGUAGE C IMMUTABLE STRICT PARALLEL RESTRICTED COST 1;
COMMENT ON FUNCTION dbt_pgstream_internal.fixed_text(text) IS
'The text itself, which a query is about to cast to a date or time: a refresh takes notice of those that mean another time at the next one, such as ''today''.';

CREATE FUNCTION dbt_pgstream_internal.row_hash(VARIADIC "any") RETURNS bigint
AS 'MODULE_PATHNAME', 'pgs_row_hash' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 2;
COMMENT ON FUNCTION dbt_pgstream_internal.row_hash("any") IS
'Hash of the images of some values: what the index of a stream table finds its rows by.';

CREATE FUNCTION dbt_pgstream_internal.only_element(anyarray) RETURNS anyelement
AS 'MODULE_PATHNAME', 'pgs_only_element' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION dbt_pgstream_internal.only_element(anyarray) IS
'The element of an array that has one: the value of a scalar subquery whose rows the array holds.  An error (21000) if there are more.';

CREATE FUNCTION dbt_pgstream_internal.is_finite(numeric) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgs_is_finite' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION dbt_pgstream_internal.is_finite(numeric) IS 'Neither NaN nor an infinity.';

CREATE FUNCTION dbt_pgstream_internal.profile_step(bigint[], numeric, bigint) RETURNS bigint[]
AS 'MODULE_PATHNAME', 'pgs_profile_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION dbt_pgstream_internal.profile_step(bigint[], numeric, bigint) IS
'Count a value, with a weight: NaN, Infinity, -Infinity, then one number for each scale from 0.';

CREATE AGGREGATE dbt_pgstream_internal.profile(numeric, bigint) (
    SFUNC = dbt_pgstream_internal.profile_step, STYPE = bigint[], INITCOND = '{0,0,0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE dbt_pgstream_internal.profile(numeric, bigint) IS
'What a sum of numerics must know besides the sum of the finite ones to stay exact when values leave.';

CREATE FUNCTION dbt_pgstream_internal.guard() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgs_guard' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.guard() IS 'Trigger of every stream table: refuses direct writes.';

CREATE FUNCTION dbt_pgstream_internal.capture() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgs_capture' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.capture() IS 'Trigger of sources: appends what a statement wrote to their change buffers.';

CREATE FUNCTION dbt_pgstream_internal.capture_row() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgs_capture_row' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.capture_row() IS 'Trigger of sources that a subscription writes to: appends each row that it writes to their change buffers.';

CREATE FUNCTION dbt_pgstream_internal.maintain_capture() RETURNS boolean
AS 'MODULE_PATHNAME', 'pgs_maintain_capture' LANGUAGE C;
REVOKE ALL ON FUNCTION dbt_pgstream_internal.maintain_capture() FROM PUBLIC;
COMMENT ON FUNCTION dbt_pgstream_internal.maintain_capture() IS
'What the scheduler does from time to time: one step of attaching and detaching capture triggers, or of removing old marks. True: a trigger came or went, so there may be more to do.';

CREATE FUNCTION dbt_pgstream_internal.on_define() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgs_on_define' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.on_define() IS 'Leaves a change mark for all that a new definition may concern: of a function or type, or of who may read what.';

CREATE FUNCTION dbt_pgstream_internal.on_sql_drop() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgs_on_sql_drop' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.on_sql_drop() IS 'Cleans up after dropped stream tables; notes dropped sources.';

CREATE FUNCTION dbt_pgstream_internal.on_alter() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgs_on_alter' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream_internal.on_alter() IS 'Keeps the columns of stream tables, and follows a change of owner.';

CREATE EVENT TRIGGER dbt_pgstream_drop ON sql_drop EXECUTE FUNCTION dbt_pgstream_internal.on_sql_drop();
CREATE EVENT TRIGGER dbt_pgstream_alter ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION dbt_pgstream_internal.on_alter();
CREATE EVENT TRIGGER dbt_pgstream_define ON ddl_command_end WHEN TAG IN (
    'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE', 'ALTER AGGREGATE', 'CREATE OPERATOR', 'ALTER OPERATOR',
    'CREATE CAST', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER COLLATION', 'ALTER EXTENSION', 'CREATE RULE', 'CREATE POLICY', 'ALTER POLICY',
    'ALTER TEXT SEARCH CONFIGURATION', 'ALTER TEXT SEARCH DICTIONARY', 'REVOKE', 'DROP OWNED',
    'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION', 'DROP SUBSCRIPTION')
    EXECUTE FUNCTION dbt_pgstream_internal.on_define();
-- also under session_replication_role = replica: a drop is a drop
ALTER EVENT TRIGGER dbt_pgstream_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER dbt_pgstream_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER dbt_pgstream_define ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER dbt_pgstream_define IS 'Leaves a change mark for all that a new definition may concern.';
COMMENT ON EVENT TRIGGER dbt_pgstream_drop IS 'Cleans up after dropped stream tables; notes dropped sources.';
COMMENT ON EVENT TRIGGER dbt_pgstream_alter IS 'Keeps the columns of stream tables, and follows a change of owner.';

CREATE FUNCTION dbt_pgstream_internal.external_streams(
    OUT engine text, OUT relid oid, OUT schema_name text, OUT table_name text, OUT defining_query text,
    OUT schedule text, OUT refresh_mode text, OUT status text, OUT is_populated boolean,
    OUT last_refresh_at timestamptz, OUT staleness interval, OUT stale boolean, OUT consecutive_errors integer,
    OUT total_refreshes bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_external_streams' LANGUAGE C STRICT ROWS 10;
COMMENT ON FUNCTION dbt_pgstream_internal.external_streams() IS 'Stream tables of pg_stream and pg_trickle, where installed.';

CREATE FUNCTION dbt_pgstream_internal.schedule_times(
    OUT relid oid, OUT due_at timestamptz, OUT next_try_at timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_schedule_times' LANGUAGE C STRICT ROWS 100;
COMMENT ON FUNCTION dbt_pgstream_internal.schedule_times() IS
'For each stream table: when its schedule wants it refreshed, and when the scheduler will try. NULL: never.';

CREATE FUNCTION dbt_pgstream_internal.next_run(schedule text, after timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'pgs_next_run' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION dbt_pgstream_internal.next_run(text, timestamptz) IS
'When a schedule wants the refresh that follows one at a given time, cron fields in the session''s time zone. NULL: never.';

CREATE FUNCTION dbt_pgstream_internal.relations_read(viewid oid) RETURNS SETOF oid
AS 'MODULE_PATHNAME', 'pgs_relations_read' LANGUAGE C STABLE STRICT ROWS 5;
COMMENT ON FUNCTION dbt_pgstream_internal.relations_read(oid) IS 'Relations that a stored query reads, through views too.';

CREATE FUNCTION dbt_pgstream_internal.scheduler_running() RETURNS boolean
AS 'MODULE_PATHNAME', 'pgs_scheduler_running' LANGUAGE C STRICT;
COMMENT ON FUNCTION dbt_pgstream_internal.scheduler_running() IS 'Whether this database has a scheduler now.';

---------------------------------------------------------------------------------------------------------------------
-- Catalog views.  Error texts can quote data, so they are shown to those who could read the table anyway: its owners.

CREATE VIEW dbt_pgstream.pgs_stream_tables AS
SELECT s.pgs_id, s.relid::oid AS pgs_relid, c.relname::text AS pgs_name, n.nspname::text AS pgs_schema,
       s.user_query AS defining_query, s.schedule, s.mode AS refresh_mode, s.status, s.populated AS is_populated,
       s.last_refresh_at, s.errors AS consecutive_errors,
       CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN s.last_error END AS last_error,
       s.retry_at, s.created_at, c.relowner::regrole AS owner
FROM dbt_pgstream_internal.stream s
JOIN pg_catalog.pg_class c ON c.oid = s.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace;
COMMENT ON VIEW dbt_pgstream.pgs_stream_tables IS
'Stream tables of the builtin engine. schedule NULL: manual. retry_at: no try before this time, after failures. last_error: for owners only.';

CREATE VIEW dbt_pgstream.pgs_dependencies AS
SELECT s.pgs_id, d.refobjid AS source_relid,
       CASE WHEN u.relid IS NOT NULL THEN 'STREAM_TABLE'
            ELSE CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATVIEW' WHEN 'f' THEN 'FOREIGN_TABLE' ELSE 'TABLE' END
       END AS source_type,
       pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL) AS columns_used,
       CASE WHEN u.relid IS NOT NULL THEN 'ENGINE'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = d.refobjid
                         AND t.tgfoid = 'dbt_pgstream_internal.capture'::regproc AND t.tgenabled = 'A') THEN 'TRIGGER'
            ELSE 'NONE' END AS cdc_mode, NULL::text AS slot_name
FROM dbt_pgstream_internal.stream s
JOIN pg_catalog.pg_rewrite r ON r.ev_class = s.viewid
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> s.viewid
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
LEFT JOIN dbt_pgstream_internal.stream u ON u.relid = d.refobjid
GROUP BY s.pgs_id, d.refobjid, u.relid, c.relkind;
COMMENT ON VIEW dbt_pgstream.pgs_dependencies IS
'What each stream table reads, upstream views expanded: from the server''s own dependencies. cdc_mode TRIGGER, ENGINE: a refresh knows whether the source has changed; NONE: it computes the query to see.';

CREATE VIEW dbt_pgstream.pgs_refresh_history AS
SELECT h.refresh_id, h.pgs_id, s.relid::oid AS pgs_relid, h.start_time, h.end_time, h.action, h.status,
       h.rows_inserted, h.rows_updated, h.rows_deleted, h.duration_ms, h.initiated_by,
       CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN h.error_message END AS error_message, h.reason
FROM dbt_pgstream_internal.history h
JOIN dbt_pgstream_internal.stream s ON s.pgs_id = h.pgs_id
JOIN pg_catalog.pg_class c ON c.oid = s.relid;
COMMENT ON VIEW dbt_pgstream.pgs_refresh_history IS
'Refreshes within dbt_pgstream.history_retention. action INITIAL: bulk load, FULL: full difference, DIFFERENTIAL: by the changes of the sources, NO_DATA: nothing differed (of a run of scheduled ones, the first is kept). reason: why that action and no cheaper one. error_message: for owners only.';

-- one shape for all engines
CREATE VIEW dbt_pgstream.pg_stat_stream_tables AS
SELECT n.nspname::text AS pgs_schema, c.relname::text AS pgs_name, s.status, s.mode AS refresh_mode, s.schedule,
       s.populated AS is_populated, s.last_refresh_at,
       pg_catalog.clock_timestamp() - s.last_refresh_at AS staleness,
       NOT s.populated OR s.viewid IS NULL OR s.status = 'SUSPENDED' OR s.errors > 0
           OR COALESCE(t.due_at < pg_catalog.clock_timestamp() - '10 s'::interval, false) AS stale,
       s.errors AS consecutive_errors, s.total_refreshes, s.rows_inserted, s.rows_updated, s.rows_deleted,
       CASE WHEN s.total_refreshes > 0 THEN s.total_ms / s.total_refreshes END AS avg_duration_ms,
       s.last_action, 'builtin'::text AS engine, s.relid::oid AS pgs_relid, t.next_try_at
FROM dbt_pgstream_internal.stream s
JOIN pg_catalog.pg_class c ON c.oid = s.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN dbt_pgstream_internal.schedule_times() t ON t.relid = s.relid
UNION ALL
SELECT schema_name, table_name, status, refresh_mode, schedule, is_populated, last_refresh_at, staleness, stale,
       consecutive_errors, total_refreshes, NULL, NULL, NULL, NULL, NULL, engine, relid, NULL
FROM dbt_pgstream_internal.external_streams();
COMMENT ON VIEW dbt_pgstream.pg_stat_stream_tables IS
'State of every stream table of every engine. stale: not populated, failing, without its source, or due for more than 10 seconds; a manual one is never stale by time alone.';

CREATE FUNCTION dbt_pgstream_internal.buffered_rows(source oid) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgs_buffered_rows' LANGUAGE C STRICT;
COMMENT ON FUNCTION dbt_pgstream_internal.buffered_rows(oid) IS
'Rows in the change buffer of a source, consumed or not; NULL: it has none.';

CREATE VIEW dbt_pgstream_internal.source_health AS
SELECT d.source_relid::regclass::text AS source_table, d.cdc_mode, NULL::text AS slot_name,
       NULL::bigint AS lag_bytes, NULL::text AS confirmed_lsn, dbt_pgstream_internal.buffered_rows(d.source_relid) AS pending_rows,
       CASE WHEN c.relpersistence = 'u' THEN 'unlogged: emptied by a crash, and its stream tables follow'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = d.source_relid AND t.tgenabled <> 'A'
                         AND t.tgfoid = 'dbt_pgstream_internal.capture'::regproc)
            THEN 'a capture trigger is disabled: each refresh computes the query' END AS alert
FROM (SELECT DISTINCT source_relid, cdc_mode FROM dbt_pgstream.pgs_dependencies) d
JOIN pg_catalog.pg_class c ON c.oid = d.source_relid
UNION ALL
SELECT pg_catalog.regexp_replace(s.last_error, '^(?:table column|materialized view|foreign table|[a-z]+) (.*) was dropped$', '\1'), 'NONE', NULL, NULL, NULL, NULL,
       'dropped: stream table ' || s.relid::text || ' keeps its last rows'
FROM dbt_pgstream_internal.stream s WHERE s.viewid IS NULL
ORDER BY 1;
COMMENT ON VIEW dbt_pgstream_internal.source_health IS 'The builtin engine''s part of dbt_pgstream.check_cdc_health().';

GRANT SELECT ON dbt_pgstream.pgs_stream_tables, dbt_pgstream.pgs_dependencies, dbt_pgstream.pgs_refresh_history,
    dbt_pgstream.pg_stat_stream_tables, dbt_pgstream_internal.source_health TO PUBLIC;

---------------------------------------------------------------------------------------------------------------------
-- Engine

CREATE FUNCTION dbt_pgstream.create_stream_table(name text, query text, schedule text DEFAULT '1m',
    refresh_mode text DEFAULT 'DIFFERENTIAL', initialize boolean DEFAULT true) RETURNS void
AS 'MODULE_PATHNAME', 'pgs_create_stream_table' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.create_stream_table(text, text, text, text, boolean) IS
'Create a stream table: a table that holds the result of a SELECT and follows it. name: as of any table, qualified or found in search_path. schedule: a duration (''500ms'', ''1h30m''), cron with 5 or 6 fields, ''calculated'', or NULL for manual. refresh_mode: DIFFERENTIAL, FULL or AUTO. initialize: populate now. Needs SELECT on the sources and CREATE on the schema. Errors: 42601 no single SELECT, 42P07 the name is taken, 0A000 the query cannot be kept (see check_query), 22023 bad schedule or mode.';

CREATE FUNCTION dbt_pgstream.alter_stream_table(name text, query text DEFAULT NULL, schedule text DEFAULT NULL,
    refresh_mode text DEFAULT NULL, status text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'pgs_alter_stream_table' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.alter_stream_table(text, text, text, text, text) IS
'Change a stream table; NULL leaves a thing as it is. query: must have the same columns; the rows follow at once. schedule: ''manual'' stops it. status: PAUSED stops the schedule, ACTIVE resumes and forgets errors. For owners.';

CREATE FUNCTION dbt_pgstream.drop_stream_table(name text, cascade boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME', 'pgs_drop_stream_table' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.drop_stream_table(text, boolean) IS
'Drop a stream table, as DROP TABLE does. cascade: with what depends on it. For owners.';

CREATE FUNCTION dbt_pgstream.refresh_stream_table(name text) RETURNS void
AS 'MODULE_PATHNAME', 'pgs_refresh_stream_table' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.refresh_stream_table(text) IS
'Bring one stream table up to date with its sources as they are now, in one snapshot. For owners. Error 40001: it was refreshed after this transaction''s snapshot.';

CREATE FUNCTION dbt_pgstream.refresh_all() RETURNS integer
AS 'MODULE_PATHNAME', 'pgs_refresh_all' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.refresh_all() IS
'Refresh all stream tables that the caller owns, due or not, upstreams first, in one snapshot. One that fails gives a warning and holds up no other. Returns how many failed.';

CREATE FUNCTION dbt_pgstream.repair_stream_table(name text) RETURNS void
AS 'MODULE_PATHNAME', 'pgs_repair_stream_table' LANGUAGE C;
COMMENT ON FUNCTION dbt_pgstream.repair_stream_table(text) IS
'Put right what is missing of a stream table (its guard trigger, the binding to re-created sources) and refresh it by full difference. For owners.';

CREATE FUNCTION dbt_pgstream.explain_st(name text, OUT property text, OUT value text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_explain_st' LANGUAGE C STRICT ROWS 20;
COMMENT ON FUNCTION dbt_pgstream.explain_st(text) IS
'What a stream table is, how it is kept up to date, and what the scheduler will do: rows (property, value). The plan is shown to owners.';

CREATE FUNCTION dbt_pgstream.get_refresh_history(name text, max_rows integer DEFAULT 20,
    OUT refresh_id bigint, OUT start_time timestamptz, OUT end_time timestamptz, OUT action text, OUT status text,
    OUT rows_inserted bigint, OUT rows_updated bigint, OUT rows_deleted bigint, OUT duration_ms double precision,
    OUT initiated_by text, OUT error_message text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_get_refresh_history' LANGUAGE C STRICT ROWS 20;
COMMENT ON FUNCTION dbt_pgstream.get_refresh_history(text, integer) IS
'The last refreshes of a stream table, newest first. initiated_by: INITIAL, MANUAL, DBT or SCHEDULER. duration_ms: milliseconds.';

CREATE FUNCTION dbt_pgstream.check_cdc_health(
    OUT source_table text, OUT cdc_mode text, OUT slot_name text, OUT lag_bytes bigint, OUT confirmed_lsn text,
    OUT pending_rows bigint, OUT alert text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_check_cdc_health' LANGUAGE C ROWS 20;
COMMENT ON FUNCTION dbt_pgstream.check_cdc_health() IS
'One row for each source of each engine''s stream tables. pending_rows: changed rows that are kept, until all stream tables have followed them. alert is NULL where all is well.';

CREATE FUNCTION dbt_pgstream.check_query(query text,
    OUT block text, OUT rule text, OUT reason text, OUT hint text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_check_query' LANGUAGE C STRICT ROWS 3;
COMMENT ON FUNCTION dbt_pgstream.check_query(text) IS
'How a query would be kept up to date, without creating anything. rule ''refused'': create_stream_table raises this as an error.';

CREATE FUNCTION dbt_pgstream.verify_stream_table(name text,
    OUT missing bigint, OUT unexpected bigint, OUT ok boolean) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgs_verify_stream_table' LANGUAGE C STRICT ROWS 1;
COMMENT ON FUNCTION dbt_pgstream.verify_stream_table(text) IS
'Compare a stream table with its query in one snapshot, as multisets of row images: rows that it lacks, rows that it has too many. Runs the whole query. For owners.';

---------------------------------------------------------------------------------------------------------------------
-- For dbt

CREATE FUNCTION dbt_pgstream.upsert_stream_table(schema_name text, table_name text, query text,
    options jsonb DEFAULT '{}', full_refresh boolean DEFAULT false, OUT action text, OUT detail text)
AS 'MODULE_PATHNAME', 'pgs_upsert_stream_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION dbt_pgstream.upsert_stream_table(text, text, text, jsonb, boolean) IS
'Make a stream table what a dbt model says. options: schedule, refresh_mode, initialize, engine. action: created, unchanged (equal parse trees), altered (options), rebound (same query, other sources), replaced (other query, same columns), recreated (other columns or engine). full_refresh: replace whatever has the name, and rebuild.';

CREATE FUNCTION dbt_pgstream_internal.is_hidden(column_name text, engine text) RETURNS boolean
RETURN engine = 'pg_stream' AND column_name LIKE '\_\_pgs\_%' OR engine = 'pg_trickle' AND column_name LIKE '\_\_pgt\_%';
COMMENT ON FUNCTION dbt_pgstream_internal.is_hidden(text, text) IS 'Whether a column is the state of an engine, not of the query.';

CREATE VIEW dbt_pgstream_internal.engine_of AS
SELECT s.relid::oid AS relid, 'builtin'::text AS engine, s.schedule, s.mode AS refresh_mode, s.status, s.last_refresh_at,
       pg_catalog.clock_timestamp() - s.last_refresh_at AS staleness
FROM dbt_pgstream_internal.stream s
UNION ALL
SELECT e.relid, e.engine, e.schedule, e.refresh_mode, e.status, e.last_refresh_at,
       pg_catalog.clock_timestamp() - e.last_refresh_at
FROM dbt_pgstream_internal.external_streams() e;
COMMENT ON VIEW dbt_pgstream_internal.engine_of IS 'What dbt needs of each stream table of each engine.';
GRANT SELECT ON dbt_pgstream_internal.engine_of TO PUBLIC;

CREATE FUNCTION dbt_pgstream.list_relations(schema_name text,
    OUT database text, OUT schema text, OUT name text, OUT type text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT ROWS 100
BEGIN ATOMIC
    SELECT pg_catalog.current_database()::text, n.nspname::text, c.relname::text,
           CASE WHEN e.relid IS NOT NULL THEN 'stream_table'
                ELSE CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'external'
                     ELSE 'table' END END
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN dbt_pgstream_internal.engine_of e ON e.relid = c.oid
    WHERE pg_catalog.lower(n.nspname) = pg_catalog.lower(schema_name) AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
END;
COMMENT ON FUNCTION dbt_pgstream.list_relations(text) IS
'Relations of a schema (matched without case) with type stream_table, table, view, materialized_view or external.';

CREATE FUNCTION dbt_pgstream.columns_in_relation(schema_name text, table_name text,
    OUT column_name text, OUT data_type text, OUT character_maximum_length integer, OUT numeric_precision integer,
    OUT numeric_scale integer) RETURNS SETOF record
LANGUAGE sql STABLE STRICT ROWS 20
BEGIN ATOMIC
    SELECT c.column_name::text, c.data_type::text, c.character_maximum_length::integer,
           c.numeric_precision::integer, c.numeric_scale::integer
    FROM information_schema.columns c
    LEFT JOIN dbt_pgstream_internal.engine_of e
        ON e.relid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, table_name))
    WHERE c.table_schema = schema_name AND c.table_name = columns_in_relation.table_name
      AND NOT COALESCE(dbt_pgstream_internal.is_hidden(c.column_name, e.engine), false)
    ORDER BY c.ordinal_position;
END;
COMMENT ON FUNCTION dbt_pgstream.columns_in_relation(text, text) IS
'Columns of a relation in the shape that dbt asks for, without the hidden columns of other engines.';

CREATE FUNCTION dbt_pgstream.freshness(schema_name text, table_name text,
    OUT max_loaded_at timestamptz, OUT snapshotted_at timestamptz, OUT age_seconds double precision) RETURNS SETOF record
LANGUAGE sql STABLE STRICT ROWS 1
BEGIN ATOMIC
    SELECT e.last_refresh_at, pg_catalog.clock_timestamp(),
           EXTRACT(epoch FROM e.staleness)::double precision
    FROM dbt_pgstream_internal.engine_of e
    WHERE e.relid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, table_name));
END;
COMMENT ON FUNCTION dbt_pgstream.freshness(text, text) IS
'How old the content of a stream table is: the time of its last refresh, now, and seconds between them. No row if it is no stream table.';

-- names: an array of [schema, name], matched without case as dbt does; NULL: the whole schema
CREATE FUNCTION dbt_pgstream_internal.catalog(schemas text[], names text[],
    OUT table_database text, OUT table_schema text, OUT table_name text, OUT table_type text, OUT table_comment text,
    OUT column_name text, OUT column_index integer, OUT column_type text, OUT column_comment text, OUT table_owner text,
    OUT pgstream_schedule text, OUT pgstream_refresh_mode text, OUT pgstream_status text,
    OUT last_refresh_at timestamptz, OUT staleness interval, OUT row_count double precision, OUT engine text)
RETURNS SETOF record
LANGUAGE sql STABLE ROWS 1000
BEGIN ATOMIC
    SELECT pg_catalog.current_database()::text, n.nspname::text, c.relname::text,
           CASE WHEN e.relid IS NOT NULL THEN 'stream_table'
                ELSE CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'BASE TABLE' END END,
           pg_catalog.obj_description(c.oid, 'pg_class'),
           a.attname::text, a.attnum::integer, pg_catalog.format_type(a.atttypid, a.atttypmod),
           pg_catalog.col_description(c.oid, a.attnum), pg_catalog.pg_get_userbyid(c.relowner)::text,
           e.schedule, e.refresh_mode, e.status, e.last_refresh_at, e.staleness,
           CASE WHEN c.reltuples >= 0 THEN c.reltuples::double precision END, e.engine
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN dbt_pgstream_internal.engine_of e ON e.relid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
      AND (pg_catalog.lower(n.nspname), pg_catalog.lower(c.relname)) IN (
          SELECT pg_catalog.lower(s), pg_catalog.lower(COALESCE(t, c.relname)) FROM ROWS FROM (
              pg_catalog.unnest(schemas), pg_catalog.unnest(names)) AS wanted (s, t))
      AND NOT COALESCE(dbt_pgstream_internal.is_hidden(a.attname::text, e.engine), false)
    ORDER BY n.nspname, c.relname, a.attnum;
END;
COMMENT ON FUNCTION dbt_pgstream_internal.catalog(text[], text[]) IS 'What catalog_relations() shapes for dbt docs.';

-- for each statistic all four columns, or dbt stops with a KeyError
CREATE TYPE dbt_pgstream_internal.catalog_row AS (
    table_database text,
    table_schema text,
    table_name text,
    table_type text,
    table_comment text,
    column_name text,
    column_index integer,
    column_type text,
    column_comment text,
    table_owner text,
    pgstream_schedule text,
    pgstream_refresh_mode text,
    pgstream_status text,
    "stats:schedule:label" text,
    "stats:schedule:value" text,
    "stats:schedule:description" text,
    "stats:schedule:include" boolean,
    "stats:refresh_mode:label" text,
    "stats:refresh_mode:value" text,
    "stats:refresh_mode:description" text,
    "stats:refresh_mode:include" boolean,
    "stats:status:label" text,
    "stats:status:value" text,
    "stats:status:description" text,
    "stats:status:include" boolean,
    "stats:last_refresh:label" text,
    "stats:last_refresh:value" text,
    "stats:last_refresh:description" text,
    "stats:last_refresh:include" boolean,
    "stats:staleness:label" text,
    "stats:staleness:value" double precision,
    "stats:staleness:description" text,
    "stats:staleness:include" boolean,
    "stats:row_count:label" text,
    "stats:row_count:value" double precision,
    "stats:row_count:description" text,
    "stats:row_count:include" boolean);
COMMENT ON TYPE dbt_pgstream_internal.catalog_row IS 'Columns that dbt docs wants of each column of each relation.';

CREATE FUNCTION dbt_pgstream.catalog_relations(relations jsonb) RETURNS SETOF dbt_pgstream_internal.catalog_row
LANGUAGE sql STABLE STRICT ROWS 1000
BEGIN ATOMIC
    SELECT c.table_database,
           c.table_schema,
           c.table_name,
           c.table_type,
           c.table_comment,
           c.column_name,
           c.column_index,
           c.column_type,
           c.column_comment,
           c.table_owner,
           c.pgstream_schedule,
           c.pgstream_refresh_mode,
           c.pgstream_status,
           'Schedule', COALESCE(c.pgstream_schedule, 'manual'), 'When the stream table is refreshed', c.engine IS NOT NULL,
           'Refresh mode', c.pgstream_refresh_mode, 'How the stream table is kept up to date', c.engine IS NOT NULL,
           'Status', c.pgstream_status, 'State of the stream table', c.engine IS NOT NULL,
           'Last refresh', pg_catalog.to_char(c.last_refresh_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', 'Time as of which the rows are right', c.engine IS NOT NULL,
           'Staleness (s)', EXTRACT(epoch FROM c.staleness)::double precision, 'Seconds since the last refresh', c.engine IS NOT NULL,
           'Row count', c.row_count, 'Estimated number of rows', c.row_count IS NOT NULL AND c.engine IS NOT NULL
    FROM dbt_pgstream_internal.catalog(
        ARRAY(SELECT r ->> 'schema' FROM pg_catalog.jsonb_array_elements(relations) WITH ORDINALITY AS x (r, i) ORDER BY i),
        ARRAY(SELECT COALESCE(r ->> 'identifier', r ->> 'name')
              FROM pg_catalog.jsonb_array_elements(relations) WITH ORDINALITY AS x (r, i) ORDER BY i)) c;
END;
COMMENT ON FUNCTION dbt_pgstream.catalog_relations(jsonb) IS
'Catalog rows of dbt docs for some relations. relations: a JSON array of {"schema", "identifier"}; without an identifier, the whole schema. Stream tables have table_type stream_table and statistics.';

CREATE FUNCTION dbt_pgstream.catalog_relations(schema_name text) RETURNS SETOF dbt_pgstream_internal.catalog_row
LANGUAGE sql STABLE STRICT ROWS 1000
BEGIN ATOMIC
    SELECT * FROM dbt_pgstream.catalog_relations(pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('schema', schema_name)));
END;
COMMENT ON FUNCTION dbt_pgstream.catalog_relations(text) IS
'Catalog rows of dbt docs for a whole schema; see catalog_relations(jsonb).';
