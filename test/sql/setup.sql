-- The oracle: a stream table is its query, by an EXCEPT ALL that shares no code with the engine (rows as text, so that
-- types without equality count too), and by the engine's own verify.
\set SHOW_CONTEXT never
CREATE SCHEMA oracle;
CREATE FUNCTION oracle.check(st regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    q text;
    lacks bigint;
    extra bigint;
    own boolean;
BEGIN
    SELECT pg_get_viewdef(viewid) INTO q FROM dbt_pgstream_internal.stream WHERE relid = st;
    q := rtrim(q, ';');
    EXECUTE format('SELECT (SELECT count(*) FROM (SELECT (_q.*)::text FROM (%1$s) _q EXCEPT ALL SELECT (_s.*)::text FROM %2$s _s) a),
                           (SELECT count(*) FROM (SELECT (_s.*)::text FROM %2$s _s EXCEPT ALL SELECT (_q.*)::text FROM (%1$s) _q) b)',
                   q, st) INTO lacks, extra;
    SELECT ok INTO own FROM dbt_pgstream.verify_stream_table(st::text);
    IF lacks = 0 AND extra = 0 AND own THEN
        RETURN 'right';
    END IF;
    RETURN format('wrong: lacks %s, has %s too many; verify says %s', lacks, extra, own);
END $$;
-- refresh, then check, then say what the refresh did
CREATE FUNCTION oracle.refresh(st text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    h record;
BEGIN
    PERFORM dbt_pgstream.refresh_stream_table(st);
    SELECT * INTO h FROM dbt_pgstream.get_refresh_history(st, 1);
    RETURN format('%s +%s ~%s -%s: %s', h.action, h.rows_inserted, h.rows_updated, h.rows_deleted, oracle.check(st::regclass));
END $$;
GRANT USAGE ON SCHEMA oracle TO PUBLIC;
