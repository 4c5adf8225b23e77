-- outer joins: padded rows come and go with the matches of the other side
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA oj;
SET jit = off;		-- the oracle computes queries over tables without statistics
SET search_path = oj, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TABLE l (id int PRIMARY KEY, k int, v int);
CREATE TABLE r (id int PRIMARY KEY, k int, name text);
CREATE TABLE keyless (k int, w int);
INSERT INTO l SELECT i, nullif(i % 10, 9), i FROM generate_series(1, 30) i;
INSERT INTO r SELECT i, nullif(i % 7, 6), 'n' || i FROM generate_series(1, 12) i;
INSERT INTO keyless VALUES (1, 1), (1, 1), (NULL, 2), (3, NULL);
CREATE TABLE queries (i serial, name text, q text);
INSERT INTO queries (name, q) VALUES
    ('plain', 'SELECT l.id, r.name, l.v FROM l LEFT JOIN r ON r.k = l.k'),
    ('one_int', 'SELECT r.id FROM l LEFT JOIN r ON l.k = r.k'),
    ('right_using', 'SELECT k, l.id, r.name FROM r RIGHT JOIN l USING (k)'),
    ('natural_left', 'SELECT id, k, name FROM l NATURAL LEFT JOIN r'),
    ('on_cond', 'SELECT l.id, r.name FROM l LEFT JOIN r ON r.k = l.k AND r.id > 3 AND l.v < 20'),
    ('where_cond', 'SELECT l.id, r.name FROM l LEFT JOIN r ON r.k = l.k WHERE r.id > 3 OR r.id IS NULL'),
    ('anti', 'SELECT l.id FROM l LEFT JOIN r ON r.k = l.k WHERE r.id IS NULL'),
    ('not_equal', 'SELECT l.id, r.id AS r FROM l LEFT JOIN r ON r.k > l.k + 3'),
    ('always', 'SELECT l.id, r.id AS r FROM l LEFT JOIN r ON true'),
    ('two', 'SELECT l.id, r.name, q.name AS next FROM l LEFT JOIN r ON r.k = l.k LEFT JOIN r q ON q.id = r.id + 1 WHERE l.v < 25'),
    ('two_nulls', 'SELECT l.id, a.w AS a, b.w AS b FROM l LEFT JOIN keyless a ON a.k = l.k LEFT JOIN keyless b ON b.k = a.w'),
    ('over_inner', 'SELECT l.id, r.name, x.v FROM l LEFT JOIN (r JOIN l x ON x.id = r.id) ON r.k = l.k'),
    ('under_inner', 'SELECT l.id, r.name, y.v FROM l LEFT JOIN r ON r.k = l.k JOIN l y ON y.id = l.id + 1'),
    ('over_cross', 'SELECT l.id, r.id AS r, q.w FROM l CROSS JOIN r LEFT JOIN keyless q ON q.k = l.k AND q.w = r.k'),
    ('nested', 'SELECT l.id, r.id AS r, q.w FROM l LEFT JOIN (r LEFT JOIN keyless q ON q.k = r.k) ON r.k = l.k'),
    ('self', 'SELECT a.id, b.id AS b FROM l a LEFT JOIN l b ON b.v = a.k'),
    ('twice', 'SELECT x.id, count(*) AS n FROM (SELECT l.id, r.id AS r FROM l LEFT JOIN r USING (k)) x JOIN l y ON y.id = x.id GROUP BY x.id'),
    ('grouped', 'SELECT l.k, count(r.id) AS n, sum(l.v) AS s, sum(r.id) AS sr, max(r.name) AS m FROM l LEFT JOIN r ON r.k = l.k GROUP BY l.k HAVING sum(l.v) > 3'),
    ('by_coalesce', 'SELECT coalesce(r.name, ''none'') AS name, count(*) AS n FROM l LEFT JOIN r USING (k) GROUP BY coalesce(r.name, ''none'')'),
    ('of_agg', 'SELECT l.id, g.n FROM l LEFT JOIN (SELECT k, count(*) AS n FROM r GROUP BY k) g ON g.k = l.k'),
    ('dis', 'SELECT DISTINCT l.k, r.name FROM l LEFT JOIN r ON r.k = l.k'),
    ('united', 'SELECT l.id, r.name FROM l LEFT JOIN r USING (k) UNION ALL SELECT w, NULL FROM keyless'),
    ('chain', 'SELECT l.id, r0.name AS n0, r1.name AS n1, r2.name AS n2, r3.name AS n3, r4.name AS n4, r5.name AS n5, r6.name AS n6, r7.name AS n7 FROM l LEFT JOIN r r0 ON r0.id = l.k + 0 LEFT JOIN r r1 ON r1.id = r0.k + 1 LEFT JOIN r r2 ON r2.id = r1.k + 2 LEFT JOIN r r3 ON r3.id = r2.k + 3 LEFT JOIN r r4 ON r4.id = r3.k + 4 LEFT JOIN r r5 ON r5.id = r4.k + 5 LEFT JOIN r r6 ON r6.id = r5.k + 6 LEFT JOIN r r7 ON r7.id = r6.k + 7'),
    ('full_join', 'SELECT coalesce(l.k, r.k) AS k, sum(l.v) AS s, count(r.id) AS n FROM l FULL JOIN r ON l.k = r.k GROUP BY coalesce(l.k, r.k)');
SELECT dbt_pgstream.create_stream_table(name, q, '1d') FROM queries ORDER BY i;
SELECT oracle.attach();
SELECT name, c.rule, c.reason FROM queries, LATERAL dbt_pgstream.check_query(q) c WHERE block = 'query' ORDER BY i;
SELECT dbt_pgstream.refresh_all();
INSERT INTO l VALUES (100, 3, 5), (101, NULL, 6), (102, 77, 7);
SELECT oracle.follow('oj');
INSERT INTO r VALUES (50, 8, 'new'), (51, 8, 'new2'), (52, NULL, 'null');
SELECT oracle.follow('oj');
-- one of two matches leaves, then the last
DELETE FROM r WHERE id IN (50, 52);
SELECT oracle.follow('oj');
DELETE FROM r WHERE k = 8;
SELECT oracle.follow('oj');
UPDATE r SET name = name || '!' WHERE id % 2 = 0;
SELECT oracle.follow('oj');
-- both sides at once: keys move, rows come and go
UPDATE r SET k = k + 1; UPDATE l SET k = k - 1 WHERE id % 3 = 0;
SELECT oracle.follow('oj');
DELETE FROM l WHERE id < 5; DELETE FROM r WHERE id < 4; INSERT INTO r VALUES (60, 2, 'x'); INSERT INTO l VALUES (200, 2, 1);
SELECT oracle.follow('oj');
INSERT INTO keyless VALUES (2, 2), (2, 2), (4, 4); DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless);
SELECT oracle.follow('oj');
UPDATE keyless SET k = NULL WHERE k = 2; UPDATE l SET v = 2 WHERE id = 10;
SELECT oracle.follow('oj');
-- a match comes and leaves between two refreshes
INSERT INTO r VALUES (70, 77, 'y'); DELETE FROM r WHERE id = 70;
SELECT oracle.follow('oj');
BEGIN; INSERT INTO r VALUES (71, 77, 'z'); SELECT oracle.follow('oj'); DELETE FROM r WHERE id = 71; DELETE FROM l WHERE id = 102; COMMIT;
SELECT oracle.follow('oj');
DELETE FROM r;
SELECT oracle.follow('oj');
INSERT INTO r SELECT i, nullif(i % 7, 6), 'n' || i FROM generate_series(1, 12) i; DELETE FROM l;
SELECT oracle.follow('oj');
-- every delta can be shown, and planned
SELECT count(*) > 0 AS deltas, count(*) FILTER (WHERE property LIKE 'plan of%') > 0 AS plans FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(pgs_name) WHERE pgs_schema = 'oj';
DROP SCHEMA oj CASCADE;
