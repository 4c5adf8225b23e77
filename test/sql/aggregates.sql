-- aggregates by rule A are exact to the last digit: scales, NaN and infinities, NULLs, extremes; and the rest by rule B
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA ag;
SET search_path = ag, public;
CREATE TABLE src (id int PRIMARY KEY, g int, i2 smallint, i4 int, i8 bigint, n numeric, p numeric(10, 2), f float8, t text, d date, iv interval, m money);
CREATE AGGREGATE ag.my_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
SELECT dbt_pgstream.create_stream_table('numbers', 'SELECT g, count(*) AS c, count(n) AS cn, sum(i2) AS s2, sum(i4) AS s4, sum(i8) AS s8, sum(n) AS sn, sum(p) AS sp, sum(n * p) AS snp,
    avg(i2) AS a2, avg(i4) AS a4, avg(i8) AS a8, avg(n) AS an, avg(p) AS ap FROM src GROUP BY g', '1d');
SELECT dbt_pgstream.create_stream_table('filtered', 'SELECT g, count(*) FILTER (WHERE i4 > 2) AS c, sum(n) FILTER (WHERE t IS NOT NULL) AS sn, avg(i8) FILTER (WHERE i4 > 2) AS a8, max(i4) FILTER (WHERE i4 < 5) AS m FROM src GROUP BY g', '1d');
SELECT dbt_pgstream.create_stream_table('extremes', 'SELECT g, min(i4) AS mi4, max(i8) AS ma8, min(t) AS mt, max(d) AS md, min(d) AS mid, max(n) AS mn, max(iv) AS miv FROM src GROUP BY g', '1d');
SELECT dbt_pgstream.create_stream_table('whole', 'SELECT count(*) AS c, sum(n) AS sn, avg(p) AS ap, max(i4) AS m, min(t) AS t FROM src', '1d');
SELECT dbt_pgstream.create_stream_table('again', 'SELECT g, sum(f) AS sf, avg(f) AS af, stddev(i4) AS sd, sum(iv) AS si, sum(m) AS sm, string_agg(t, '','' ORDER BY id) AS ts, array_agg(t ORDER BY id) AS ar, count(DISTINCT t) AS cd, bool_and(i4 > 1) AS b, percentile_cont(0.5) WITHIN GROUP (ORDER BY f) AS pc, ag.my_sum(i4) FILTER (WHERE i4 > 1) AS my FROM src GROUP BY g', '1d');
SELECT dbt_pgstream.create_stream_table('above', 'SELECT sn, count(*) AS c FROM (SELECT g, sum(i4) AS sn FROM src GROUP BY g) x GROUP BY sn HAVING count(*) > 1', '1d');
SELECT block, rule, reason FROM dbt_pgstream.check_query('SELECT g, count(*) AS c, sum(n) AS s, max(d) AS m, sum(f) AS f FROM src GROUP BY g');
-- the JSON of a value is only stable: computed each time
SELECT dbt_pgstream.create_stream_table('jsons', 'SELECT g, json_agg(n ORDER BY id) AS js FROM src GROUP BY g', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
CREATE FUNCTION go() RETURNS text LANGUAGE sql AS $$
    SELECT dbt_pgstream.refresh_all();
    SELECT string_agg(DISTINCT last_action, ', ' ORDER BY last_action) || ': ' || string_agg(DISTINCT oracle.check(pgs_relid::regclass), ', ') FROM dbt_pgstream.pg_stat_stream_tables WHERE pgs_schema = 'ag' AND pgs_name <> 'jsons' $$;

INSERT INTO src VALUES (1, 1, 1, 1, 1, 1, 1, 0.1, 'a', '2026-01-01', '1 day', 1), (2, 1, 2, 2, 2, 2.50, 2, 0.2, 'b', '2026-02-01', '24 hours', 2), (3, 2, 3, 3, 3, 3.125, 3, 0.3, NULL, NULL, NULL, 3), (4, NULL, 4, 4, 4, 4, 4, 0.4, 'd', '2026-04-01', '2 days', 4);
SELECT go();
-- the value with the most decimals leaves: the scale of the sum shrinks
SELECT sn, an FROM numbers WHERE g = 2;
DELETE FROM src WHERE id = 3;
INSERT INTO src VALUES (5, 2, 5, 5, 5, 7, 5, 1e20, 'e', '2026-05-01', '1 mon', 5);
SELECT go();
SELECT sn, an FROM numbers WHERE g = 2;
UPDATE src SET n = 1.0 WHERE id = 1;
SELECT go();
UPDATE src SET n = 1.00 WHERE id = 1;
SELECT go();
INSERT INTO src VALUES (6, 1, 6, 6, 6, 0.00000000000000000001, 6, -1e20, 'f', '2026-06-01', '-1 day', 6);
SELECT go();
DELETE FROM src WHERE id = 6;
SELECT go();
-- what can't be taken back out of a sum
UPDATE src SET n = 'NaN' WHERE id = 1;
SELECT go();
SELECT (SELECT sn FROM numbers WHERE g = 1);
UPDATE src SET n = 'Infinity' WHERE id = 2;
SELECT go();
SELECT (SELECT sn FROM numbers WHERE g = 1);
UPDATE src SET n = 5 WHERE id = 1;
SELECT go();
SELECT (SELECT sn FROM numbers WHERE g = 1), (SELECT an FROM numbers WHERE g = 1);
UPDATE src SET n = '-Infinity' WHERE id = 1;
SELECT go();
SELECT (SELECT sn FROM numbers WHERE g = 1);
UPDATE src SET n = 5 WHERE id IN (1, 2);
SELECT go();
SELECT (SELECT sn FROM numbers WHERE g = 1);
INSERT INTO src (id, g, n, f, i8) VALUES (7, 1, 1e20, 1e20, 9223372036854775807), (8, 1, 1e-10, 'NaN', -9223372036854775808);
SELECT go();
UPDATE src SET i8 = 1 WHERE id IN (7, 8);
SELECT go();
DELETE FROM src WHERE id IN (7, 8);
SELECT go();
-- only NULLs are left, then no row is
UPDATE src SET n = NULL, p = NULL, i2 = NULL, i4 = NULL, i8 = NULL, f = NULL, t = NULL, d = NULL, iv = NULL, m = NULL WHERE g = 2;
SELECT go();
SELECT (SELECT sn IS NULL AND an IS NULL AND cn = 0 AND c = 1 FROM numbers WHERE g = 2) AS nulls;
DELETE FROM src WHERE g = 2;
SELECT go();
SELECT (SELECT count(*) FROM numbers WHERE g = 2);
-- the NULL group: partly, wholly, and again
INSERT INTO src (id, g, n, i4) VALUES (9, NULL, 9, 9);
SELECT go();
DELETE FROM src WHERE id = 4;
SELECT go();
UPDATE src SET g = 3 WHERE g IS NULL;
SELECT go();
SELECT (SELECT count(*) FROM numbers WHERE g IS NULL);
UPDATE src SET g = NULL WHERE id = 1;
SELECT go();
-- the extreme leaves, comes in and leaves between two refreshes, and ties
INSERT INTO src (id, g, i4, i8, t, d) SELECT i, 5, i, i, 'x' || i, '2026-01-01'::date + i FROM generate_series(10, 19) i;
SELECT go();
DELETE FROM src WHERE id IN (10, 19);
SELECT go();
INSERT INTO src (id, g, i4, i8, t, d) VALUES (20, 5, -5, 99, 'a', '2030-01-01'); DELETE FROM src WHERE id = 20;
SELECT go();
UPDATE src SET i4 = 12, i8 = 12, t = 'x12' WHERE id IN (11, 13);
SELECT go();
DELETE FROM src WHERE id = 11;
SELECT go();
-- a group that was there and is there again
DELETE FROM src WHERE g = 5; INSERT INTO src (id, g, i4) VALUES (30, 5, 1);
SELECT go();
-- hundreds of small changes of an average
DO $$BEGIN FOR i IN 1..300 LOOP
    UPDATE ag.src SET n = round(i / 7.0, i % 5), p = i / 3.0, i8 = i8 + i WHERE id = 1 + i % 2;
    IF i % 20 = 0 THEN DELETE FROM ag.src WHERE id = 31; ELSIF i % 20 = 10 THEN INSERT INTO ag.src (id, g, n) VALUES (31, 1, i / 1000.0); END IF;
    PERFORM dbt_pgstream.refresh_stream_table('ag.numbers');
END LOOP; END$$;
SELECT go();
TRUNCATE src;
SELECT go();
SELECT (SELECT c FROM whole);
INSERT INTO src (id, g, n) VALUES (1, 1, 1);
SELECT go();
-- an overflow is the error that the query itself would raise; nothing is lost, and it goes when its cause goes
DROP TABLE again;
INSERT INTO src (id, g, i4) SELECT i, 7, 2147483647 FROM generate_series(100, 101) i;
SELECT dbt_pgstream.create_stream_table('narrow', 'SELECT g, sum(i4)::int AS s FROM src WHERE id > 1000 GROUP BY g', '1d');
SELECT oracle.attach();
SELECT go();
INSERT INTO src (id, g, i4) SELECT i, 7, 2147483647 FROM generate_series(1001, 1002) i;
SELECT dbt_pgstream.refresh_stream_table('narrow');
DELETE FROM src WHERE id = 1002;
SELECT oracle.refresh('narrow');
-- every delta can be shown, and planned
SELECT count(*) > 0 AS deltas, count(*) FILTER (WHERE property LIKE 'plan of%') > 0 AS plans FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(pgs_name) WHERE pgs_schema = 'ag';
DROP SCHEMA ag CASCADE;
