-- the time of the query: rows that a condition on now() lets in and out, without any change of a row
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA ck;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = ck, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TABLE b (id int PRIMARY KEY, g int, w int);
INSERT INTO b SELECT i, nullif(i % 6, 5), i FROM generate_series(1, 20) i;
CREATE TABLE queries (i serial, name text, q text);
CREATE TABLE ev (id int PRIMARY KEY, at timestamptz, d date, ts timestamp, g int, v int);
CREATE INDEX ON ev (at);
INSERT INTO ev SELECT i, now() + i * interval '150 ms' - interval '2 s', (now() + (i - 10) * interval '12 hour')::date, localtimestamp + i * interval '150 ms', i % 4, i FROM generate_series(1, 40) i;
INSERT INTO queries (name, q) VALUES
 ('recent', 'SELECT id, g, v FROM ev WHERE at > now() - interval ''1 second'''),
 ('past', 'SELECT id, at FROM ev WHERE at <= current_timestamp AND v > 3'),
 ('today', 'SELECT id, d FROM ev WHERE d = current_date'),
 ('win', 'SELECT id FROM ev WHERE at BETWEEN now() - interval ''1 s'' AND now() + interval ''1 s'''),
 ('lts', 'SELECT id FROM ev WHERE localtimestamp(3) < ts'),
 ('agg', 'SELECT g, count(*) AS n, sum(v) AS s FROM ev WHERE at < now() GROUP BY g'),
 ('joined', 'SELECT ev.id, b.id AS b FROM ev JOIN b ON b.g = ev.g WHERE ev.at < now() AND b.w > 3'),
 ('leftj', 'SELECT b.id, x.id AS e FROM b LEFT JOIN (SELECT id, g FROM ev WHERE at > now()) x ON x.g = b.g'),
 ('exi', 'SELECT id FROM b WHERE NOT EXISTS (SELECT FROM ev WHERE ev.g = b.g AND ev.at > now())'),
 ('exi2', 'SELECT id FROM ev WHERE at < now() AND EXISTS (SELECT FROM b WHERE b.g = ev.g AND b.w <> ev.v)'),
 ('winf', 'SELECT id, rank() OVER (PARTITION BY g ORDER BY v) AS r FROM ev WHERE at > now()'),
 ('two', 'SELECT DISTINCT x.g FROM ev x JOIN ev y ON x.g = y.g WHERE x.at < now() AND y.at > now()'),
 ('scd', 'SELECT id, g FROM ev WHERE v < 30 AND (at IS NULL OR at > now() OR NOT (now() > ts AND id % 2 = 0))'),
 ('tz', 'SELECT date_trunc(''day'', at) AS day, to_char(at, ''YYYY'') AS y, count(*) AS n FROM ev GROUP BY 1, 2');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.block, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block IN ('query', 'clock') ORDER BY i, block;
SELECT dbt_pgstream.refresh_all();
-- the oracle's now() is that of the refresh: in one transaction
BEGIN; SELECT oracle.follow('ck'); COMMIT;
SELECT FROM pg_sleep(0.4); BEGIN; SELECT oracle.follow('ck'); COMMIT;
SELECT FROM pg_sleep(1);
INSERT INTO ev VALUES (99, NULL, NULL, NULL, 1, 1), (100, now() + interval '300 ms', current_date, localtimestamp, 2, 5), (101, now() - interval '300 ms', current_date, localtimestamp, 2, 5);
DELETE FROM ev WHERE id IN (12, 20, 22); UPDATE ev SET g = g + 1 WHERE id % 3 = 0; UPDATE b SET g = g + 1 WHERE id < 5;
BEGIN; SELECT oracle.follow('ck'); COMMIT;
SELECT FROM pg_sleep(0.5); UPDATE ev SET at = at + interval '1 s' WHERE id % 5 = 0; DELETE FROM b WHERE id = 7;
BEGIN; SELECT oracle.follow('ck'); COMMIT;
-- later on it is right as of its last refresh, and verify asks for no more
SELECT FROM pg_sleep(1);
SELECT pgs_name FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.verify_stream_table(pgs_name) v WHERE pgs_schema = 'ck' AND NOT ok;
-- two refreshes in one transaction, and rows in between
BEGIN; SELECT oracle.follow('ck'); INSERT INTO ev VALUES (102, now(), current_date, localtimestamp, 1, 1); SELECT oracle.follow('ck'); COMMIT;
-- TRUNCATE leaves a mark: the whole, and then deltas again
TRUNCATE ev; INSERT INTO ev SELECT i, now() + i * interval '20 ms', current_date, localtimestamp, i, i FROM generate_series(1, 30) i;
SELECT dbt_pgstream.refresh_all(); SELECT FROM pg_sleep(0.2);
BEGIN; SELECT oracle.follow('ck'); COMMIT;
-- elsewhere the clock changes every row: these are computed each time, and check_query says so
SELECT q, c.rule, c.reason FROM unnest(ARRAY['SELECT id, now() - at < interval ''1 s'' AS young FROM ev', 'SELECT count(*) FILTER (WHERE at > now()) AS n FROM ev',
    'SELECT b.id, ev.id AS e FROM b LEFT JOIN ev ON ev.g = b.g AND ev.at > now()', 'SELECT id FROM ev WHERE at <> now()']) q,
    LATERAL dbt_pgstream.check_query(q) c WHERE block = 'query';
-- only for those who say that it may be computed each time
SELECT dbt_pgstream.create_stream_table('ages', 'SELECT id, at > now() AS coming FROM ev', '1d');
SELECT dbt_pgstream.create_stream_table('ages', 'SELECT id, current_user AS who FROM ev', '1d');
SELECT dbt_pgstream.create_stream_table('ages', 'SELECT id FROM ev', '1d');
SELECT dbt_pgstream.alter_stream_table('ages', query => 'SELECT id FROM ev WHERE current_user <> ''x''');
DROP TABLE ages;
SELECT dbt_pgstream.create_stream_table('ages', 'SELECT id, at > now() AS coming FROM ev', '1d', 'AUTO');
SELECT dbt_pgstream.alter_stream_table('ages', refresh_mode => 'DIFFERENTIAL');
SELECT action FROM dbt_pgstream.upsert_stream_table('ck', 'ages', 'SELECT id, at > now() AS coming FROM ev', '{"schedule": "1d", "refresh_mode": "DIFFERENTIAL"}');
SELECT action FROM dbt_pgstream.upsert_stream_table('ck', 'ages', 'SELECT id, at > ''today'' AS coming FROM ev', '{"schedule": "1d", "refresh_mode": "DIFFERENTIAL"}');
SELECT action FROM dbt_pgstream.upsert_stream_table('ck', 'ages', 'SELECT id, at > now() AS coming FROM ev', '{"schedule": "1d", "refresh_mode": "AUTO"}');
SELECT oracle.attach(); SELECT dbt_pgstream.refresh_stream_table('ages'); SELECT FROM pg_sleep(0.1);
BEGIN; SELECT dbt_pgstream.refresh_stream_table('ages'); SELECT oracle.check('ages'); COMMIT;
-- a text that is cast to a date is settled, but where it says 'today' or the like
CREATE TABLE raw (id int PRIMARY KEY, doc jsonb, day varchar(40), days text[]);
INSERT INTO raw SELECT i, jsonb_build_object('at', date '2024-01-01' + i, 'g', i % 3), (date '2024-02-01' + i)::text, ARRAY[(date '2024-03-01' + i)::text] FROM generate_series(1, 40) i;
CREATE VIEW staged AS SELECT id, (doc->>'at')::timestamptz AS at, (doc->>'g')::int AS g, cast(day AS date) AS day, days::date[] AS days FROM raw;
SELECT dbt_pgstream.create_stream_table('raw_rows', 'SELECT * FROM staged WHERE at > ''2024-01-03''', '1d');
SELECT dbt_pgstream.create_stream_table('raw_groups', 'SELECT g, max(day) AS last, count(*) FROM staged GROUP BY g', '1d');
SELECT dbt_pgstream.create_stream_table('raw_best', 'SELECT id, day FROM staged WHERE id NOT IN (SELECT g FROM staged) ORDER BY day DESC LIMIT 3', '1d');
SELECT block, rule, reason FROM dbt_pgstream.check_query('SELECT * FROM staged');
SELECT oracle.attach();
SELECT pgs_name, dbt_pgstream.refresh_stream_table(pgs_name) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name LIKE 'raw%' ORDER BY 1;
CREATE FUNCTION raw_refreshed() RETURNS TABLE (name text, action text, reason text, ok text) LANGUAGE plpgsql AS $$
DECLARE st record;
BEGIN
    FOR st IN SELECT pgs_name, pgs_relid FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name LIKE 'raw%' ORDER BY 1 LOOP
        PERFORM dbt_pgstream.refresh_stream_table(st.pgs_name);
        RETURN QUERY SELECT st.pgs_name, h.action, h.reason, oracle.check(st.pgs_relid::regclass) FROM dbt_pgstream.pgs_refresh_history h
            WHERE pgs_relid = st.pgs_relid ORDER BY refresh_id DESC LIMIT 1;
    END LOOP;
END$$;
UPDATE raw SET day = '2025-01-01', doc = doc || '{"at": "2024-06-01 10:00+02"}' WHERE id % 10 = 0;
DELETE FROM raw WHERE id % 7 = 0;
SELECT * FROM raw_refreshed();
INSERT INTO raw VALUES (100, '{"at": " TODAY ", "g": 1}', 'Tomorrow', '{yesterday,2024-01-01}');
SELECT * FROM raw_refreshed();
-- each time, while it is there
SELECT * FROM raw_refreshed();
UPDATE raw SET day = '2026-01-01' WHERE id = 100;
SELECT * FROM raw_refreshed();
DELETE FROM raw WHERE id = 100;
SELECT * FROM raw_refreshed();
SELECT * FROM raw_refreshed();
UPDATE raw SET day = 'infinity', doc = '{"at": "epoch", "g": 2}' WHERE id = 9;
SELECT * FROM raw_refreshed();
-- what is no date at all is an error, and nothing is lost
INSERT INTO raw VALUES (101, '{"at": "know", "g": 1}', '2024-01-01', '{}');
SELECT dbt_pgstream.refresh_stream_table('raw_rows');
UPDATE raw SET doc = doc || '{"at": "2024-06-01"}' WHERE id = 101;
SELECT * FROM raw_refreshed();
-- the definition is the same however often it is read
SELECT action FROM dbt_pgstream.upsert_stream_table('ck', 'raw_groups', 'SELECT g, max(day) AS last, count(*) FROM staged GROUP BY g', '{"schedule": "1d"}');
SELECT dbt_pgstream.repair_stream_table('raw_groups');
SELECT oracle.check('raw_groups');
DROP SCHEMA ck CASCADE;
