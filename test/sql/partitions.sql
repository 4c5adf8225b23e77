-- partitioned and inherited sources: statements on any part of the tree, and parts that come and go
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA pt;
SET search_path = pt, public;
CREATE TABLE src (id int, k text, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE src_a PARTITION OF src FOR VALUES IN ('a');
-- a partition with its columns in another order, below a level of its own
CREATE TABLE src_b PARTITION OF src FOR VALUES IN ('b', 'c') PARTITION BY RANGE (id);
CREATE TABLE src_b1 (v int, gone int, k text NOT NULL, id int NOT NULL);
ALTER TABLE src_b1 DROP COLUMN gone;
ALTER TABLE src_b ATTACH PARTITION src_b1 FOR VALUES FROM (0) TO (100);
INSERT INTO src VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
SELECT dbt_pgstream.create_stream_table('sums', 'SELECT k, sum(v) AS s, count(*) AS n FROM src GROUP BY k', '1d');
SELECT dbt_pgstream.create_stream_table('rows', 'SELECT id, k, v FROM src WHERE v > 0', '1d');
SELECT oracle.attach();
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%' AND tgrelid::regclass::text ~ '^src' GROUP BY 1 ORDER BY 1;
SELECT dbt_pgstream.refresh_all();
CREATE FUNCTION go() RETURNS TABLE (sums text, "rows" text) LANGUAGE sql AS $$SELECT oracle.refresh('sums'), oracle.refresh('rows')$$;
INSERT INTO src VALUES (4, 'a', 4), (5, 'b', 5);
SELECT * FROM go();
INSERT INTO src_a VALUES (6, 'a', 6); INSERT INTO src_b VALUES (7, 'c', 7); INSERT INTO src_b1 (id, k, v) VALUES (8, 'b', 8);
SELECT * FROM go();
UPDATE src SET v = v + 10;
SELECT * FROM go();
UPDATE src_b SET v = v + 100 WHERE k = 'b'; DELETE FROM src_b1 WHERE id = 7;
SELECT * FROM go();
UPDATE src SET k = 'b' WHERE id = 6;		-- moves to another partition
SELECT * FROM go();
COPY src FROM stdin;
20	a	20
21	b	21
\.
COPY src_a FROM stdin;
22	a	22
\.
MERGE INTO src USING (VALUES (20, 'a', 200), (23, 'c', 23)) x (id, k, v) ON src.id = x.id AND src.k = x.k WHEN MATCHED THEN UPDATE SET v = x.v WHEN NOT MATCHED THEN INSERT VALUES (x.id, x.k, x.v);
SELECT * FROM go();
INSERT INTO src VALUES (20, 'a', 2000) ON CONFLICT (id, k) DO UPDATE SET v = excluded.v;
SELECT * FROM go();
-- what no trigger tells: computed whole
TRUNCATE src_a;
SELECT * FROM go();
CREATE TABLE src_d PARTITION OF src FOR VALUES IN ('d');
INSERT INTO src_d VALUES (30, 'd', 30);
SELECT value FROM dbt_pgstream.explain_st('sums') WHERE property = 'capture';
SELECT * FROM go();
INSERT INTO src_d VALUES (31, 'd', 31);
SELECT * FROM go();
SELECT oracle.attach();
SELECT * FROM go();
INSERT INTO src_d VALUES (32, 'd', 32);
SELECT * FROM go();
ALTER TABLE src DETACH PARTITION src_d;
SELECT * FROM go();
INSERT INTO src_d VALUES (33, 'd', 33);		-- a table of its own now
SELECT * FROM go();
SELECT oracle.attach();
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%' AND tgrelid = 'src_d'::regclass;
ALTER TABLE src ATTACH PARTITION src_d FOR VALUES IN ('d');
SELECT * FROM go();
SELECT oracle.attach();
SELECT * FROM go();
DROP TABLE src_d;
SELECT * FROM go();
INSERT INTO src VALUES (40, 'a', 40);
SELECT * FROM go();
ALTER TABLE src_b DETACH PARTITION src_b1;
SELECT * FROM go();
DROP TABLE src CASCADE;
DROP TABLE src_b1, sums, rows;

-- inheritance
CREATE TABLE base (id int PRIMARY KEY, v int);
CREATE TABLE kid (extra text) INHERITS (base);
INSERT INTO base VALUES (1, 1); INSERT INTO kid VALUES (2, 2, 'x');
SELECT dbt_pgstream.create_stream_table('sums', 'SELECT sum(v) AS s, count(*) AS n FROM base', '1d');
SELECT dbt_pgstream.create_stream_table('rows', 'SELECT id, v FROM base', '1d');
SELECT dbt_pgstream.create_stream_table('only_base', 'SELECT id, v FROM ONLY base', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
SELECT block, rule, reason FROM dbt_pgstream.check_query('SELECT id, v FROM ONLY base') LIMIT 1;
INSERT INTO kid VALUES (3, 3, 'y');
SELECT * FROM go(), oracle.refresh('only_base');
UPDATE base SET v = v + 1;
SELECT * FROM go(), oracle.refresh('only_base');
UPDATE kid SET extra = 'z';
SELECT * FROM go();
DELETE FROM ONLY base;
SELECT * FROM go(), oracle.refresh('only_base');
CREATE TABLE grandkid () INHERITS (kid);
INSERT INTO grandkid VALUES (4, 4, 'g');
SELECT * FROM go();
SELECT oracle.attach();
SELECT * FROM go();
DELETE FROM grandkid;
SELECT * FROM go();
DROP TABLE grandkid;
SELECT * FROM go();
ALTER TABLE kid NO INHERIT base;
SELECT * FROM go(), oracle.refresh('only_base');
DROP SCHEMA pt CASCADE;
