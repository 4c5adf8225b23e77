-- values that are equal and look different: any of them stands for a group while it is there, and none that has left
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA tw;
SET search_path = tw, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8, i interval, j jsonb, a numeric[], v int);
CREATE FUNCTION twin(id int, first boolean) RETURNS t LANGUAGE sql AS $$
    SELECT ROW(id, CASE WHEN first THEN 1.0 ELSE 1.00 END, CASE WHEN first THEN 0 ELSE '-0'::float8 END, CASE WHEN first THEN '24 h' ELSE '1 day' END::interval,
        CASE WHEN first THEN '[1.0]' ELSE '[1]' END::jsonb, CASE WHEN first THEN '{1.0}' ELSE '{1}' END::numeric[], id)::tw.t $$;
INSERT INTO t SELECT (twin(i, i % 2 = 0)).* FROM generate_series(1, 4) i;
INSERT INTO t VALUES (9, 'NaN', 'NaN', '1 mon', 'null', NULL, 9), (10, NULL, NULL, NULL, NULL, '{}', 10);
SELECT dbt_pgstream.create_stream_table('by_' || c, format('SELECT %1$s AS k, count(*) AS n, sum(v) AS s FROM t GROUP BY %1$s', c), '1d'),
    dbt_pgstream.create_stream_table('dis_' || c, format('SELECT DISTINCT %1$s AS k FROM t', c), '1d'),
    dbt_pgstream.create_stream_table('except_' || c, format('SELECT %1$s AS k FROM t EXCEPT SELECT %1$s FROM t WHERE v > 50', c), '1d'),
    dbt_pgstream.create_stream_table('exists_' || c, format('SELECT id FROM t WHERE EXISTS (SELECT FROM t x WHERE x.%1$s = t.%1$s AND x.v <> 2)', c), '1d'),
    dbt_pgstream.create_stream_table('win_' || c, format('SELECT id, %1$s AS k, count(*) OVER (PARTITION BY %1$s) AS n FROM t', c), '1d')
FROM unnest(ARRAY['n', 'f', 'i', 'j', 'a']) c;
SELECT oracle.attach();
SELECT c.block, c.rule, c.reason FROM dbt_pgstream.check_query('SELECT n, count(*) AS c FROM t GROUP BY n') c;
SELECT dbt_pgstream.refresh_all();
INSERT INTO t SELECT (twin(i, i = 5)).* FROM generate_series(5, 8) i;
SELECT oracle.follow('tw');
-- all of one look leave: what is stored must look like the other
DELETE FROM t WHERE n::text = '1.0';
SELECT oracle.follow('tw');
SELECT by_n.k AS n, by_f.k AS f, by_i.k AS i, by_j.k AS j, by_a.k AS a FROM by_n, by_f, by_i, by_j, by_a WHERE by_n.k = 1 AND by_f.k = 0 AND by_i.k = '24 h' AND by_j.k = '[1]' AND by_a.k = '{1}';
SELECT d.k AS n, e.k AS e FROM dis_n d JOIN except_n e USING (k) WHERE k = 1;
INSERT INTO t SELECT (twin(i, true)).* FROM generate_series(20, 21) i;
SELECT oracle.follow('tw');
DELETE FROM t WHERE n::text = '1.00';
SELECT oracle.follow('tw');
SELECT by_n.k AS n, by_f.k AS f, by_i.k AS i, by_j.k AS j, by_a.k AS a FROM by_n, by_f, by_i, by_j, by_a WHERE by_n.k = 1 AND by_f.k = 0 AND by_i.k = '24 h' AND by_j.k = '[1]' AND by_a.k = '{1}';
-- one becomes the other
UPDATE t SET (n, f, i, j, a) = (SELECT n, f, i, j, a FROM twin(1, false)) WHERE id = 20;
SELECT oracle.follow('tw');
UPDATE t SET v = v + 100 WHERE id = 21;
SELECT oracle.follow('tw');
DELETE FROM t WHERE n = 1;
SELECT oracle.follow('tw');
UPDATE t SET (n, f, i, j, a) = (SELECT n, f, i, j, a FROM twin(1, id = 9)) WHERE id < 20;
SELECT oracle.follow('tw');
DROP SCHEMA tw CASCADE;
