-- rule A and its blocks: which queries have a delta, and that it is right after every kind of change
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA dl;
SET search_path = dl, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TABLE a (id int PRIMARY KEY, k int, v numeric, t text);
CREATE TABLE b (id int PRIMARY KEY, k int, name text);
CREATE TABLE "key less" (x int, y int, z int);
INSERT INTO a SELECT i, i % 5, i, 't' || i % 3 FROM generate_series(1, 40) i;
INSERT INTO b SELECT i, i % 4, 'b' || i FROM generate_series(0, 9) i;
INSERT INTO "key less" VALUES (1, 1, 1), (1, 1, 1), (1, NULL, 3), (1, 3, NULL), (NULL, NULL, NULL);

CREATE TABLE queries (i serial, name text, q text);
INSERT INTO queries (name, q) VALUES
    ('filtered', 'SELECT id, v * 2 AS v FROM a WHERE k > 1'),
    ('bag', 'SELECT x, y, z FROM "key less"'),
    ('not_key', 'SELECT k FROM a'),
    ('union_all', 'SELECT k FROM a UNION ALL SELECT k FROM b UNION ALL SELECT x FROM "key less"'),
    ('union_types', 'SELECT id, v FROM a UNION ALL SELECT id, k FROM b'),
    ('joined', 'SELECT a.id, b.name, a.v FROM a JOIN b ON b.id = a.k'),
    ('one_int', 'SELECT a.k FROM a JOIN b USING (k)'),
    ('self_join', 'SELECT p.id AS p, q.id AS q FROM a p JOIN a q ON p.k = q.k AND p.id < q.id'),
    ('three', 'SELECT a.id, b.name, c.y FROM a, b, "key less" c WHERE a.k = b.k AND b.id = c.x'),
    ('seven', 'SELECT count(*) AS n FROM b b1 JOIN b b2 ON b1.id = b2.id JOIN b b3 ON b2.id = b3.id JOIN b b4 ON b3.id = b4.id JOIN b b5 ON b4.id = b5.id JOIN b b6 ON b5.id = b6.id JOIN b b7 ON b6.k = b7.id'),
    ('cross_max', 'SELECT a.id, m.top - a.v AS below FROM a, (SELECT max(v) AS top FROM a) m'),
    ('natural', 'SELECT id, k, name FROM a NATURAL JOIN b'),
    ('grouped', 'SELECT k, count(*) AS n, sum(v) AS s, avg(v) AS m FROM a GROUP BY k'),
    ('having', 'SELECT k, sum(v) AS s FROM a GROUP BY k HAVING count(*) > 7'),
    ('whole', 'SELECT count(*) AS n, sum(v) AS s, min(t) AS t FROM a'),
    ('never', 'SELECT sum(v) AS s, count(*) AS n FROM a WHERE false'),
    ('dependent', 'SELECT b.id, b.name, count(*) AS n FROM b JOIN a ON a.k = b.id GROUP BY b.id'),
    ('by_expr', 'SELECT k % 2 AS odd, t || ''!'' AS t, count(*) FILTER (WHERE v > 10) AS big FROM a GROUP BY k % 2, t || ''!'''),
    ('dis', 'SELECT DISTINCT k, t FROM a'),
    ('dis_bag', 'SELECT DISTINCT x, y FROM "key less"'),
    ('uni', 'SELECT k FROM a UNION SELECT k FROM b UNION SELECT x FROM "key less"'),
    ('of_agg', 'SELECT n, count(*) AS groups FROM (SELECT k, count(*) AS n FROM a GROUP BY k) g GROUP BY n'),
    ('agg_join', 'SELECT b.id, b.name, g.s FROM b JOIN (SELECT k, sum(v) AS s FROM a GROUP BY k HAVING sum(v) > 50) g ON g.k = b.id'),
    ('agg_twice', 'SELECT x.k, x.n, y.m FROM (SELECT k, count(*) AS n FROM a GROUP BY k) x JOIN (SELECT k, max(id) AS m FROM b GROUP BY k) y USING (k)'),
    ('dis_agg', 'SELECT DISTINCT count(*) AS n FROM a GROUP BY k'),
    ('with_twice', 'WITH g AS MATERIALIZED (SELECT k, count(*) AS n FROM a GROUP BY k), h AS (SELECT * FROM g WHERE n > 5) SELECT g.k, g.n, h.k AS other FROM g JOIN h ON g.n = h.n'),
    ('srf', 'SELECT a.id, s.i FROM a, generate_series(1, a.k) s(i)'),
    ('in_list', 'SELECT id, unnest(ARRAY[k, k + 1]) AS u FROM a'),
    ('vals', 'SELECT a.id, w.word FROM a JOIN (VALUES (1, ''one''), (2, ''two'')) w(n, word) ON w.n = a.k'),
    ('strings', 'SELECT k, string_agg(t, '','' ORDER BY id) AS ts, array_agg(v ORDER BY id) AS vs, count(DISTINCT t) AS n FROM a GROUP BY k');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
CREATE VIEW view_on AS SELECT * FROM a WHERE k <> 2;
SELECT dbt_pgstream.create_stream_table('on_view', 'SELECT t, count(*) AS n FROM view_on GROUP BY t', '1d');
SELECT dbt_pgstream.create_stream_table('on_st', 'SELECT n, count(*) AS c, sum(s) AS s FROM grouped GROUP BY n', '1d');
SELECT dbt_pgstream.create_stream_table('on_two', 'SELECT g.k, g.s, f.id FROM grouped g JOIN filtered f ON f.id = g.k', '1d');
SELECT oracle.attach();
SELECT count(dbt_pgstream.refresh_stream_table(pgs_name)) > 0 AS refreshed FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'dl';
-- what keeps each up to date
SELECT name, c.block, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE name IN ('joined', 'having', 'strings', 'with_twice', 'uni') ORDER BY i;

INSERT INTO a VALUES (100, 3, 7.25, 't9'), (101, NULL, NULL, NULL);
SELECT oracle.follow('dl');
UPDATE a SET v = v + 0.125 WHERE id = 100;
SELECT oracle.follow('dl');
UPDATE a SET k = 2;
SELECT oracle.follow('dl');
UPDATE a SET k = id % 5 WHERE id % 2 = 0;
SELECT oracle.follow('dl');
UPDATE a SET k = NULL WHERE k = 4;
SELECT oracle.follow('dl');
DELETE FROM a WHERE v = (SELECT max(v) FROM a);
SELECT oracle.follow('dl');
DELETE FROM "key less" WHERE ctid = (SELECT min(ctid) FROM "key less");
SELECT oracle.follow('dl');
UPDATE "key less" SET y = 9 WHERE ctid = (SELECT min(ctid) FROM "key less");
SELECT oracle.follow('dl');
DELETE FROM "key less"; INSERT INTO "key less" VALUES (1, 1, 1), (1, 1, 1);
SELECT oracle.follow('dl');
-- both sides of a join at once, in every combination
INSERT INTO a VALUES (200, 20, 1, 'x'); INSERT INTO b VALUES (20, 20, 'twenty');
SELECT oracle.follow('dl');
UPDATE a SET k = 21 WHERE id = 200; UPDATE b SET id = 21, k = 21 WHERE id = 20;
SELECT oracle.follow('dl');
DELETE FROM a WHERE id = 200; DELETE FROM b WHERE id = 21;
SELECT oracle.follow('dl');
UPDATE a SET k = 3 WHERE id = 1; DELETE FROM b WHERE id = 1; UPDATE b SET name = 'new' WHERE id = 3;
SELECT oracle.follow('dl');
-- in one transaction: insert, update, delete, insert again
BEGIN; INSERT INTO a VALUES (300, 1, 1, 'x'); UPDATE a SET v = 2 WHERE id = 300; DELETE FROM a WHERE id = 300; INSERT INTO a VALUES (300, 1, 3, 'y'); COMMIT;
SELECT oracle.follow('dl');
BEGIN; DELETE FROM a WHERE id < 10; SELECT oracle.follow('dl'); INSERT INTO a VALUES (1, 1, 1, 'x'); SAVEPOINT s; DELETE FROM b; SELECT oracle.follow('dl'); ROLLBACK TO s; SELECT oracle.follow('dl'); COMMIT;
SELECT oracle.follow('dl');
UPDATE a SET id = id + 1000 WHERE id < 20;
SELECT oracle.follow('dl');
DELETE FROM a;
SELECT oracle.follow('dl');
INSERT INTO a SELECT i, i % 5, i, 't' || i % 3 FROM generate_series(1, 40) i;
SELECT oracle.follow('dl');
-- emptied by TRUNCATE: no delta tells of it, the whole is computed
TRUNCATE b;
SELECT dbt_pgstream.refresh_all();
SELECT DISTINCT oracle.check(pgs_relid::regclass) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'dl';
INSERT INTO b SELECT i, i % 4, 'b' || i FROM generate_series(0, 9) i;
SELECT oracle.follow('dl');

-- a stream table that somebody has put his hands on: noticed, and made right
ALTER TABLE grouped DISABLE TRIGGER pgstream_guard; DELETE FROM grouped WHERE k = 1; ALTER TABLE grouped ENABLE ALWAYS TRIGGER pgstream_guard;
SELECT oracle.refresh('grouped');
SET client_min_messages = error;
DO $$BEGIN EXECUTE (SELECT format('DELETE FROM dbt_pgstream_internal.s_%s_1', pgs_id) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'dl' AND pgs_name = 'grouped'); END$$;
DELETE FROM a WHERE id = 4;
SELECT dbt_pgstream.refresh_stream_table('grouped');
SELECT action, regexp_replace(reason, ':.*', '') AS reason, oracle.check('grouped') FROM dbt_pgstream.pgs_refresh_history WHERE pgs_relid = 'grouped'::regclass ORDER BY refresh_id DESC LIMIT 1;
UPDATE a SET v = v - 1 WHERE id = 3;
SELECT oracle.refresh('grouped');
-- the index by which rows are found is gone: slower, but right, and the refresh makes it again
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'grouped'::regclass;
DROP INDEX grouped_k_idx;
SELECT value FROM dbt_pgstream.explain_st('grouped') WHERE property = 'missing index' AND value LIKE '%lost%';
UPDATE a SET v = v - 1 WHERE id = 3;
SELECT oracle.refresh('grouped');
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'grouped'::regclass;
-- every delta can be shown, and planned
SELECT count(*) > 0 AS deltas, count(*) FILTER (WHERE property LIKE 'plan of%') > 0 AS plans FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(pgs_name) WHERE pgs_schema = 'dl';
-- the state goes with the stream table
SELECT count(*) > 0 AS there FROM pg_class WHERE relname ~ '^s_\d+_\d+$';
DROP SCHEMA dl CASCADE;
SELECT count(*) FROM pg_class WHERE relname ~ '^s_\d+_\d+$';
SELECT count(*) FROM dbt_pgstream_internal.source s WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = s.relid);
