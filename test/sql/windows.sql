-- window functions, DISTINCT ON, LIMIT and grouping sets: what a change touches is computed again, and nothing else
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA wn;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = wn, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
\getenv dir PG_ABS_SRCDIR
\set file :dir '/lib/two_tables.sql'
\i :file
INSERT INTO queries (name, q) VALUES
 ('rn', 'SELECT id, g, v, row_number() OVER (PARTITION BY g ORDER BY id) AS n FROM a'),
 ('lagrun', 'SELECT id, lag(v) OVER w AS l, sum(v) OVER (w ROWS 2 PRECEDING) AS s, g FROM a WINDOW w AS (PARTITION BY g ORDER BY id)'),
 ('two', 'SELECT id, rank() OVER (PARTITION BY g, h ORDER BY v, id) AS r, count(*) OVER (PARTITION BY g) AS n FROM a'),
 ('whole', 'SELECT id, row_number() OVER (ORDER BY id) AS n FROM a'),
 ('bynum', 'SELECT id, count(*) OVER (PARTITION BY v) AS n, v FROM a'),
 ('joined', 'SELECT a.id, b.id AS bid, dense_rank() OVER (PARTITION BY a.g ORDER BY b.w, a.id) AS r FROM a JOIN b ON b.g = a.g'),
 ('left_joined', 'SELECT a.id, b.id AS bid, count(b.id) OVER (PARTITION BY a.g) AS r FROM a LEFT JOIN b ON b.g = a.g AND b.w > 5'),
 ('aggwin', 'SELECT g, sum(v) AS s, rank() OVER (ORDER BY sum(v), g) AS r FROM a GROUP BY g'),
 ('filtered', 'SELECT id, n FROM (SELECT id, row_number() OVER (PARTITION BY g ORDER BY v DESC, id) AS n FROM a) x WHERE n <= 2'),
 ('don', 'SELECT DISTINCT ON (g) g, id, v FROM a ORDER BY g, v DESC, id'),
 ('don2', 'SELECT DISTINCT ON (v) v, id FROM a ORDER BY v, id'),
 ('donexpr', 'SELECT DISTINCT ON (g % 2, h) id, v FROM a ORDER BY g % 2, h, id DESC'),
 ('top', 'SELECT id, v FROM a ORDER BY v DESC, id LIMIT 5'),
 ('topoff', 'SELECT id FROM a ORDER BY v DESC, id OFFSET 2 LIMIT 5'),
 ('ties', 'SELECT id, h FROM a ORDER BY h DESC FETCH FIRST 3 ROWS WITH TIES'),
 ('topagg', 'SELECT g, count(*) AS n FROM a GROUP BY g ORDER BY count(*) DESC, g LIMIT 2'),
 ('topdist', 'SELECT DISTINCT g FROM a ORDER BY g DESC LIMIT 3'),
 ('topunion', 'SELECT id FROM a UNION SELECT id + 15 FROM b ORDER BY id DESC LIMIT 4'),
 ('distwin', 'SELECT DISTINCT g, max(v) OVER (PARTITION BY g) AS m FROM a'),
 ('joinwin', 'SELECT b.id, x.n FROM b JOIN (SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS n FROM a) x ON x.id = b.id'),
 ('gs', 'SELECT g, h, count(*) AS n, sum(v) AS s, grouping(g, h) AS gr FROM a GROUP BY GROUPING SETS ((g, h), (g), ())'),
 ('cube', 'SELECT g % 2 AS p, h, sum(id) AS s FROM a GROUP BY CUBE (g % 2, h) HAVING count(*) > 3'),
 ('rollup', 'SELECT coalesce(h, ''all'') AS h, count(*) AS n FROM a GROUP BY ROLLUP (h)'),
 ('gswin', 'SELECT g, h, sum(id) AS s, rank() OVER (PARTITION BY grouping(g) ORDER BY sum(id), g, h) AS r FROM a GROUP BY ROLLUP (g, h)'),
 ('gsdist', 'SELECT DISTINCT g FROM a GROUP BY ROLLUP (g, h)'),
 ('aggsrf', 'SELECT g, generate_series(1, count(*)::int) AS i FROM a GROUP BY g'),
 ('winsrf', 'SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS n, generate_series(1, id % 3) AS i FROM a'),
 ('aggdistsrf', 'SELECT DISTINCT generate_series(1, count(*)::int) AS i FROM a GROUP BY g'),
 ('twice', 'WITH t AS (SELECT g, sum(v) AS s FROM a GROUP BY g) SELECT x.g, y.s FROM t x JOIN t y ON x.g = y.g');
-- of a LIMIT, only what comes before its last row counts
INSERT INTO queries (name, q) VALUES
 ('limit1', 'SELECT id, v FROM a ORDER BY v DESC NULLS LAST, id LIMIT 5'),
 ('limit2', 'SELECT id FROM a ORDER BY v NULLS FIRST, g DESC, id OFFSET 3 LIMIT 4'),
 ('limit3', 'SELECT h FROM a ORDER BY h FETCH FIRST 3 ROWS WITH TIES'),
 ('limit4', 'SELECT g, sum(v) AS s FROM a GROUP BY g ORDER BY sum(v) DESC, g LIMIT 2'),
 ('limit5', 'SELECT a.id, b.id AS b FROM a JOIN b USING (g) ORDER BY a.v + b.w, a.id, b.id LIMIT 7'),
 ('limit6', 'SELECT id FROM a ORDER BY id LIMIT 100'),
 ('limit7', 'SELECT x.id FROM (SELECT id, v FROM a ORDER BY v DESC, id LIMIT 8) x JOIN b ON b.id = x.id'),
 ('limit8', 'SELECT id FROM a ORDER BY h DESC, id LIMIT 2 + 1'),
 ('limit9', 'SELECT id FROM a ORDER BY id DESC OFFSET 38 LIMIT 3');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.block, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block NOT IN ('query', 'result') ORDER BY i;
SELECT dbt_pgstream.refresh_all();
INSERT INTO a VALUES (500, 1, 'h0', 500), (501, 1, 'h2', -5), (502, 1, NULL, NULL); SELECT oracle.follow('wn');
DELETE FROM a WHERE id = 500; SELECT oracle.follow('wn'); UPDATE a SET v = v + 1 WHERE id = 20; SELECT oracle.follow('wn'); UPDATE a SET v = 1000 WHERE id = 3; SELECT oracle.follow('wn'); DELETE FROM a WHERE id IN (39, 40, 2); SELECT oracle.follow('wn');
\set file :dir '/lib/changes.sql'
\i :file
DROP SCHEMA wn CASCADE;
