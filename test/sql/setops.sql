-- FULL joins, and set operations of every kind
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA so;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = so, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
\getenv dir PG_ABS_SRCDIR
\set file :dir '/lib/two_tables.sql'
\i :file
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
\set file :dir '/lib/changes.sql'
\i :file
DROP SCHEMA so CASCADE;
