-- values of every kind beneath windows, subqueries, expansions and ordered aggregates
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA ty;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = ty, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
\getenv dir PG_ABS_SRCDIR
\set file :dir '/lib/two_tables.sql'
\i :file
CREATE TABLE j (id int PRIMARY KEY, d jsonb, js json, x xml, p point, a int[], c text COLLATE "C", u uuid, b bytea, r int4range, mr int4multirange, e text);
INSERT INTO j SELECT i, jsonb_build_object('k', i % 3, 'l', jsonb_build_array(i, i + 1)), json_build_object('v', i), NULL, point(i, i % 2), ARRAY[i % 3, i], 'c' || i % 4, md5((i % 5)::text)::uuid, decode('0' || i % 5, 'hex'), int4range(i, i + 3), int4multirange(int4range(i, i + 2)), repeat('long' || i % 3, 2000) FROM generate_series(1, 12) i;
-- (where the server was built with libxml)
DO $$BEGIN UPDATE j SET x = xmlparse(content '<a>' || id || '</a>'); EXCEPTION WHEN feature_not_supported THEN NULL; END$$;
INSERT INTO queries (name, q) VALUES
 ('winjson', 'SELECT id, js, x, p, row_number() OVER (PARTITION BY c ORDER BY id) AS n FROM j'),
 ('winbytea', 'SELECT id, b, e, count(*) OVER (PARTITION BY b) AS n, first_value(e) OVER (PARTITION BY b ORDER BY id) AS f FROM j'),
 ('winarr', 'SELECT id, a, r, mr, rank() OVER (PARTITION BY a[1] ORDER BY r) AS n FROM j'),
 ('winrange', 'SELECT id, count(*) OVER (PARTITION BY r) AS n, d FROM j'),
 ('donjson', 'SELECT DISTINCT ON (u) u, js, d FROM j ORDER BY u, id DESC'),
 ('topjson', 'SELECT id, js, x FROM j ORDER BY id DESC LIMIT 4'),
 ('unnested', 'SELECT j.id, e.v, e.n FROM j, unnest(j.a) WITH ORDINALITY e(v, n)'),
 ('elems', 'SELECT j.id, t.value AS v FROM j, jsonb_array_elements(d -> ''l'') t'),
 ('eachk', 'SELECT k.key, count(*) AS n FROM j, jsonb_each(d) k GROUP BY k.key'),
 ('scalarjson', 'SELECT id, (SELECT x.js FROM j x WHERE x.id = j.id + 1) AS next, (SELECT d FROM j y WHERE y.c = j.c ORDER BY id DESC LIMIT 1) AS last FROM j'),
 ('inarr', 'SELECT id FROM j WHERE a[1] IN (SELECT g FROM b WHERE w > 3)'),
 ('anyarr', 'SELECT b.id FROM b WHERE EXISTS (SELECT FROM j WHERE b.id = ANY (j.a))'),
 ('uuidjoin', 'SELECT x.id, y.id AS y FROM j x FULL JOIN j y ON x.u = y.u AND y.id > 6'),
 ('rowsfrom', 'SELECT b.id, x.a1, x.a2 FROM b, ROWS FROM (generate_series(1, b.g), generate_series(2, b.g)) x(a1, a2)'),
 ('vals', 'SELECT v.n, count(b.id) AS c FROM (VALUES (1), (2), (3)) v(n) LEFT JOIN b ON b.g = v.n GROUP BY v.n'),
 ('tsrf', 'SELECT id, unnest(a) AS e FROM j'),
 ('jsonagg', 'SELECT c, jsonb_agg(d ORDER BY id) AS ds, json_object_agg(id, p ORDER BY id) AS ps FROM j GROUP BY c'),
 ('hypo', 'SELECT c, percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS med, mode() WITHIN GROUP (ORDER BY a[1]) AS m, rank(5) WITHIN GROUP (ORDER BY id) AS r FROM j GROUP BY c'),
 ('winjoined', 'SELECT x.id, w.n FROM b x LEFT JOIN (SELECT id, ntile(3) OVER (PARTITION BY c ORDER BY id) AS n FROM j) w ON w.id = x.id'),
 ('nestedwin', 'SELECT c, max(n) AS m FROM (SELECT c, row_number() OVER (PARTITION BY c ORDER BY id) AS n FROM j) w GROUP BY c'),
 ('win2', 'SELECT id, sum(n) OVER (PARTITION BY g) AS s FROM (SELECT id, g, count(*) OVER (PARTITION BY h) AS n FROM a) w'),
 ('excl', 'SELECT id, sum(id) OVER (PARTITION BY g ORDER BY id RANGE BETWEEN 3 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS s, nth_value(id, 2) OVER (PARTITION BY g ORDER BY id GROUPS 2 PRECEDING) AS nv FROM b'),
 ('ctewin', 'WITH t AS (SELECT id, g, lead(w) OVER (PARTITION BY g ORDER BY id) AS l FROM b) SELECT t.id, u.l FROM t JOIN t u ON u.id = t.id + 1 WHERE t.g IN (SELECT g FROM t WHERE l IS NULL)'),
 ('notexdist', 'SELECT DISTINCT g FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.g = a.g AND b.w > 10)'),
 ('orexists', 'SELECT id FROM a WHERE EXISTS (SELECT FROM b WHERE b.g = a.g AND w > 8) OR NOT (EXISTS (SELECT FROM b WHERE b.id = a.id) AND g > 1)'),
 ('alle', 'SELECT id FROM a WHERE id >= ALL (SELECT w FROM b WHERE b.g = a.g AND b.id > 90)'),
 ('crossmax', 'SELECT b.id, m.mx FROM b CROSS JOIN (SELECT max(n) AS mx FROM (SELECT g, count(*) AS n FROM a GROUP BY g) t) m');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block = 'query' AND c.reason NOT LIKE 'the changes%' ORDER BY i;
SELECT dbt_pgstream.refresh_all();
UPDATE j SET js = json_build_object('w', id), d = d || '{"k": 1.0}' WHERE id % 4 = 0; SELECT oracle.follow('ty');
UPDATE j SET a = a || 7, p = point(0, '-0'), r = int4range(1, 4) WHERE id % 3 = 0; SELECT oracle.follow('ty');
DELETE FROM j WHERE id IN (2, 5); INSERT INTO j (id, c, a) VALUES (50, NULL, NULL), (51, 'c1', '{1,2}'); UPDATE j SET e = NULL WHERE id = 4; UPDATE j SET u = NULL, b = NULL WHERE id = 9; SELECT oracle.follow('ty');
\set file :dir '/lib/changes.sql'
\i :file
DROP SCHEMA ty CASCADE;
