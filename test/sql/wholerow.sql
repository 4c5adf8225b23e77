-- whole rows are rows of their columns
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wr;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = wr, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
\getenv dir PG_ABS_SRCDIR
\set file :dir '/lib/two_tables.sql'
\i :file
CREATE TABLE dr (id int PRIMARY KEY, y text, g int); INSERT INTO dr SELECT i, 'y' || i, i % 3 FROM generate_series(1, 9) i;
INSERT INTO queries (name, q) VALUES
 ('w1', 'SELECT id, to_jsonb(dr) AS j FROM dr'),
 ('w2', 'SELECT g, count(dr) AS n, jsonb_agg(dr ORDER BY id) AS j FROM dr GROUP BY g'),
 ('w3', 'SELECT dr AS whole FROM dr'),
 ('w4', 'SELECT b.id, (SELECT row_to_json(x)::text FROM dr x WHERE x.id = b.id) AS t FROM b'),
 ('w5', 'SELECT to_jsonb(q) AS j FROM (SELECT id, g FROM dr WHERE g > 0) q'),
 ('w6', 'SELECT b.id, to_jsonb(dr) AS j FROM b LEFT JOIN dr ON dr.id = b.id'),
 ('w7', 'SELECT id, dr::text AS t, dr IS NOT NULL AS n FROM dr WHERE EXISTS (SELECT FROM b WHERE b.g = dr.g AND (dr).y <> ''y3'')'),
 ('w8', 'SELECT id, row_number() OVER (PARTITION BY g ORDER BY dr) AS r FROM dr'),
 ('w9', 'SELECT DISTINCT dr.g, (dr).id % 2 AS odd FROM dr');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block = 'query' AND c.reason NOT LIKE 'the changes%' ORDER BY i;
SELECT dbt_pgstream.refresh_all();
INSERT INTO dr VALUES (50, 'new', 1), (51, NULL, NULL); UPDATE dr SET y = y || '!' WHERE id % 2 = 0; DELETE FROM dr WHERE id = 3; SELECT oracle.follow('wr');
UPDATE dr SET g = g + 1; UPDATE b SET g = g + 1 WHERE id < 9; SELECT oracle.follow('wr'); 
DROP TABLE w3; ALTER TABLE dr ADD COLUMN z int DEFAULT 7; SELECT oracle.follow('wr'); UPDATE dr SET z = id WHERE id < 5; SELECT oracle.attach(); SELECT oracle.follow('wr'); UPDATE dr SET z = 1 + z, y = 'q' WHERE id < 7; SELECT oracle.follow('wr');
\set file :dir '/lib/changes.sql'
\i :file
DROP SCHEMA wr CASCADE;
