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
    -- which of 1.0 and 1.00 stands for a group, SQL leaves open: then by value
    IF lacks = extra AND own THEN
        EXECUTE format('SELECT (SELECT count(*) FROM (SELECT * FROM (%1$s) _q EXCEPT ALL SELECT * FROM %2$s _s) a) + (SELECT count(*) FROM (SELECT * FROM %2$s _s EXCEPT ALL SELECT * FROM (%1$s) _q) b)', q, st) INTO lacks;
        IF lacks = 0 THEN
            RETURN 'right';
        END IF;
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
-- every source captured
CREATE FUNCTION oracle.attach() RETURNS void LANGUAGE plpgsql AS $$BEGIN WHILE dbt_pgstream_internal.maintain_capture() LOOP END LOOP; END$$;
-- refresh the stream tables of a schema one by one; each must be right, and must have followed the changes
CREATE FUNCTION oracle.follow(nsp text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s record;
    h record;
    said text := '';
BEGIN
    FOR s IN SELECT pgs_id, pgs_name, pgs_relid::regclass AS st FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = nsp ORDER BY pgs_id LOOP
        BEGIN
            PERFORM dbt_pgstream.refresh_stream_table(s.st::text);
        EXCEPTION WHEN OTHERS THEN
            said := said || format('%s: %s. ', s.pgs_name, sqlerrm);
            CONTINUE;
        END;
        SELECT * INTO h FROM dbt_pgstream.pgs_refresh_history WHERE pgs_id = s.pgs_id ORDER BY refresh_id DESC LIMIT 1;
        IF h.action NOT IN ('NO_DATA', 'DIFFERENTIAL') THEN
            said := said || format('%s: %s (%s). ', s.pgs_name, h.action, h.reason);
        END IF;
        IF oracle.check(s.st) <> 'right' THEN
            said := said || format('%s: %s. ', s.pgs_name, oracle.check(s.st));
        END IF;
    END LOOP;
    RETURN CASE said WHEN '' THEN 'all right' ELSE said END;
END $$;
GRANT USAGE ON SCHEMA oracle TO PUBLIC;
