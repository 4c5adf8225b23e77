-- FULL joins, and set operations of every kind
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA so;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = so, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TABLE a (id int PRIMARY KEY, g int, h text, v numeric);
CREATE TABLE b (id int PRIMARY KEY, g int, w int);
INSERT INTO a SELECT i, nullif(i % 5, 4), 'h' || i % 3, i * 1.5 FROM generate_series(1, 40) i;
INSERT INTO b SELECT i, nullif(i % 6, 5), i FROM generate_series(1, 20) i;
CREATE TABLE queries (i serial, name text, q text);
INSERT INTO queries (name, q) VALUES
 ('full_join', 'SELECT a.id, b.id AS b, a.v FROM a FULL JOIN b ON a.g = b.g'),
 ('fulluse', 'SELECT g, a.id, b.id AS b FROM a FULL JOIN b USING (g)'),
 ('fullagg', 'SELECT coalesce(a.g, b.g) AS k, sum(a.v) AS s, count(b.id) AS n FROM a FULL JOIN b ON a.g = b.g GROUP BY coalesce(a.g, b.g)'),
 ('fullwhere', 'SELECT a.id, b.id AS b FROM a FULL JOIN b ON a.id = b.id WHERE a.v > 3 OR b.w < 15'),
 ('fullfull', 'SELECT a.id, b.id AS b, c.id AS c FROM a FULL JOIN b ON a.id = b.id FULL JOIN b c ON c.id = a.g'),
 ('fullleft', 'SELECT a.id, b.id AS b, c.id AS c FROM a LEFT JOIN (b FULL JOIN b c ON c.id = b.g) ON b.id = a.id'),
 ('fullnatural', 'SELECT id, g, v, w FROM a NATURAL FULL JOIN b'),
 ('fullsub', 'SELECT x.g, n, w FROM (SELECT g, count(*) AS n FROM a GROUP BY g) x FULL JOIN b ON b.g = x.g AND b.w > 3'),
 ('fullwin', 'SELECT a.id, b.id AS b, count(*) OVER (PARTITION BY b.g) AS n FROM a FULL JOIN b ON a.id = b.id'),
 ('exc', 'SELECT g FROM a EXCEPT SELECT g FROM b WHERE w > 2'),
 ('excall', 'SELECT g FROM a EXCEPT ALL SELECT g FROM b'),
 ('ints', 'SELECT g, id FROM a INTERSECT SELECT g, w FROM b'),
 ('intsall', 'SELECT g FROM a INTERSECT ALL SELECT g FROM b'),
 ('mixed', 'SELECT g FROM a UNION ALL (SELECT g FROM b UNION SELECT id FROM a) EXCEPT SELECT 3'),
 ('mixed2', '(SELECT id::bigint AS k FROM a EXCEPT SELECT w FROM b) UNION ALL SELECT 7 INTERSECT SELECT id FROM b'),
 ('mixlim', '(SELECT id AS k FROM a EXCEPT SELECT w FROM b) UNION SELECT g FROM b ORDER BY k DESC LIMIT 6'),
 ('mixtext', 'SELECT h FROM a EXCEPT SELECT ''h1'' UNION ALL SELECT NULL'),
 ('unionunder', 'SELECT g, count(*) AS n FROM (SELECT g FROM a UNION ALL (SELECT g FROM b UNION SELECT w FROM b)) u GROUP BY g');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block = 'query' AND c.reason NOT LIKE 'the changes%' ORDER BY i;
SELECT dbt_pgstream.refresh_all();
INSERT INTO a VALUES (100, 2, 'h1', 7), (101, NULL, 'h2', 7.0), (102, 3, NULL, NULL);
SELECT oracle.follow('so');
DELETE FROM a WHERE id IN (3, 7, 8); SELECT oracle.follow('so');
UPDATE a SET v = 3.00 WHERE id = 2; UPDATE a SET g = 1 WHERE id = 12; SELECT oracle.follow('so');
UPDATE a SET h = 'h9' WHERE id % 4 = 0; UPDATE b SET g = g + 1; SELECT oracle.follow('so');
INSERT INTO b VALUES (50, 2, 3), (51, NULL, 5), (52, 7, 8); DELETE FROM b WHERE id < 4; UPDATE b SET w = w + 1 WHERE id > 10; SELECT oracle.follow('so');
DELETE FROM a WHERE g = 1; SELECT oracle.follow('so');
BEGIN; INSERT INTO a VALUES (200, 0, 'h0', 1), (201, 9, 'h0', 1000); SELECT oracle.follow('so'); DELETE FROM a WHERE id = 200; UPDATE b SET g = NULL WHERE id = 9; COMMIT; SELECT oracle.follow('so');
UPDATE a SET v = v + 1, g = (g + 1) % 4; UPDATE b SET w = 30 - w; SELECT oracle.follow('so');
DELETE FROM b; SELECT oracle.follow('so');
INSERT INTO b SELECT i, nullif(i % 6, 5), i FROM generate_series(1, 20) i; DELETE FROM a; SELECT oracle.follow('so');
INSERT INTO a SELECT i, nullif(i % 5, 4), 'h' || i % 3, i * 1.5 FROM generate_series(1, 40) i; SELECT oracle.follow('so');
SELECT count(*) > 0 AS deltas, count(*) FILTER (WHERE property LIKE 'plan of%') > 0 AS plans FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(pgs_name) WHERE pgs_schema = 'so';
DROP SCHEMA so CASCADE;
