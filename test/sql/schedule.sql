-- schedules: what they mean
\set SHOW_CONTEXT never
SET timezone = 'Europe/Berlin';
SET datestyle = 'ISO, YMD';
CREATE FUNCTION pg_temp.runs(schedule text, at timestamptz, n int DEFAULT 3) RETURNS SETOF timestamptz LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        at := dbt_pgstream_internal.next_run(schedule, at);
        RETURN NEXT at;
    END LOOP;
END $$;
SELECT s, dbt_pgstream_internal.next_run(s, '2026-01-01 00:00:00Z') - '2026-01-01 00:00:00Z'
FROM unnest(ARRAY['1ms', '500ms', '30s', '5m', '1h30m', '1d', '1w', '1w2d3h4m5s6ms', '90S', ' 1 h  30 m ', '1m30s']) s;
SELECT dbt_pgstream_internal.next_run('manual', now()), dbt_pgstream_internal.next_run('none', now()),
       dbt_pgstream_internal.next_run('calculated', '2026-01-01 00:00Z') - '2026-01-01 00:00Z';
SELECT pg_temp.runs('*/15 * * * *', '2026-03-01 10:07:31');
SELECT pg_temp.runs('*/20 30 4 * * *', '2026-03-01 04:30:15', 4);
SELECT pg_temp.runs('0 9-17/4 * * mon-fri', '2026-03-06 13:00', 4);
SELECT pg_temp.runs('0 0 29 2 *', '2026-03-01', 2);
SELECT pg_temp.runs('0 0 13 * 5', '2026-02-01', 5);
SELECT pg_temp.runs('0 0 * * 7', '2026-02-01', 2);
SELECT pg_temp.runs('5,10 0 1 jan,JUL *', '2026-01-01 00:05', 3);
SELECT pg_temp.runs('59 59 23 31 12 *', '2026-12-31 23:59:58', 2);
SELECT s, pg_temp.runs(s, '2026-05-13 14:15:16', 1)
FROM unnest(ARRAY['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually']) s;
-- daylight saving: 02:30 doesn't exist on 29 March, and comes twice on 25 October
SELECT pg_temp.runs('30 2 * * *', '2026-03-28 12:00', 2);
SELECT pg_temp.runs('30 2 * * *', '2026-10-24 12:00', 2);
SELECT pg_temp.runs('0 * * * *', '2026-10-25 00:30', 4);
-- not schedules
CREATE FUNCTION pg_temp.refused(s text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
    PERFORM dbt_pgstream_internal.next_run(s, now());
    RETURN 'accepted';
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
    RETURN SQLERRM || ': ' || d;
END $$;
SELECT pg_temp.refused(s) FROM unnest(ARRAY['', ' ', '5', '5 minutes', '-1m', '0ms', '1.5h', '1x', '1m1', 'm', '99999999999999999999s', '9999999999w',
    '* * * *', '* * * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 13 *', '* * * * 8', '*/0 * * * *', '5-1 * * * *',
    '1, * * * *', 'a * * * *', '1-2-3 * * * *', '0 0 30 2 *', '0 0 31 4,6 *', '@never', '@', '* * * * mo']) s;
