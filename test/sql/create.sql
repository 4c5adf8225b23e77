-- creation, and every kind of bad input
\set SHOW_CONTEXT never
CREATE SCHEMA shop;
SET search_path = shop, public;
CREATE TABLE orders (id int PRIMARY KEY, customer int, amount numeric(10, 2), note text);
INSERT INTO orders SELECT i, i % 7, i * 1.25, 'n' || i FROM generate_series(1, 100) i;

SELECT dbt_pgstream.create_stream_table('by_customer',
    'SELECT customer, count(*) AS n, sum(amount) AS total FROM orders GROUP BY customer;', NULL);
SELECT oracle.check('by_customer');
\d by_customer
SELECT pgs_schema, pgs_name, defining_query, schedule, refresh_mode, status, is_populated, consecutive_errors, last_error
FROM dbt_pgstream.pgs_stream_tables;
SELECT source_relid::regclass, source_type, columns_used FROM dbt_pgstream.pgs_dependencies;

-- names: qualified, quoted, hostile
SELECT dbt_pgstream.create_stream_table('shop."Weird ""name"" $$ ; --"', $q$SELECT id AS "Spaced col", note AS "ünï""x" FROM orders$q$, NULL);
SELECT oracle.check('shop."Weird ""name"" $$ ; --"');
SELECT oracle.refresh('shop."Weird ""name"" $$ ; --"');
SELECT dbt_pgstream.drop_stream_table('shop."Weird ""name"" $$ ; --"');
SELECT dbt_pgstream.create_stream_table(repeat('x', 63), 'SELECT id FROM orders', NULL);
SELECT dbt_pgstream.drop_stream_table(repeat('x', 63));

-- initialize => false leaves it empty, and says so
SELECT dbt_pgstream.create_stream_table('later', 'SELECT id FROM orders', NULL, initialize => false);
SELECT status, is_populated, (SELECT count(*) FROM later) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'later';
SELECT oracle.refresh('later');
SELECT status, is_populated FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'later';
SELECT dbt_pgstream.drop_stream_table('later');

-- bad input: each with an error of its own, and nothing left behind
\set VERBOSITY default
SELECT dbt_pgstream.create_stream_table(NULL, 'SELECT 1 AS x');
SELECT dbt_pgstream.create_stream_table('bad', NULL);
SELECT dbt_pgstream.create_stream_table('bad', '');
SELECT dbt_pgstream.create_stream_table('bad', 'SELEC id FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT nosuch FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT 1 AS x; SELECT 2 AS x');
SELECT dbt_pgstream.create_stream_table('bad', 'DROP TABLE orders');
SELECT dbt_pgstream.create_stream_table('bad', 'CREATE TABLE y AS SELECT 1 AS x');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id INTO y FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'DELETE FROM orders RETURNING id');
SELECT dbt_pgstream.create_stream_table('bad', 'WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders FOR UPDATE');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders TABLESAMPLE system (10)');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id, id FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id, 1 + 1 FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT ROW(id, note) AS r FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT FROM orders');
SELECT dbt_pgstream.create_stream_table('bad', $$SELECT note COLLATE "C" || (note COLLATE "POSIX") AS x FROM orders$$);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders', schedule => 'often');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders', schedule => '');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders', schedule => '0s');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders', NULL, refresh_mode => 'MAGIC');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders', NULL, refresh_mode => 'IMMEDIATE');
SELECT dbt_pgstream.create_stream_table('orders', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('by_customer', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('nosuch.bad', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('pg_temp.bad', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('a.b.c.d', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('not a name', 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table(repeat('x', 64), 'SELECT 1 AS x', NULL);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM bad', NULL);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT $1 AS x', NULL);
CREATE TEMP TABLE scratch (id int);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM scratch', NULL);
CREATE TEMP VIEW scratch_view AS SELECT id FROM orders;
SELECT dbt_pgstream.create_stream_table('fine', 'SELECT id FROM scratch_view', NULL);	-- stands for its text
DROP VIEW scratch_view;
SELECT oracle.refresh('fine');
DROP TABLE fine;
CREATE SEQUENCE seq;
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT last_value FROM seq', NULL);

-- volatile functions, wherever they hide
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT random() AS x', NULL);
SELECT dbt_pgstream.create_stream_table('bad', $$SELECT CASE WHEN id > 3 THEN COALESCE(note, gen_random_uuid()::text) END AS x FROM orders$$, NULL);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id FROM orders WHERE id IN (SELECT (random() * 10)::int)', NULL);
SELECT dbt_pgstream.create_stream_table('bad', $$SELECT nextval('seq') AS x FROM orders$$, NULL);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT ARRAY[clock_timestamp()] AS x FROM orders', NULL);
CREATE FUNCTION with_default(a int, b float DEFAULT random()) RETURNS float LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT with_default(id) AS x FROM orders', NULL);
CREATE FUNCTION shaky(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 + $2';
CREATE OPERATOR +% (LEFTARG = int, RIGHTARG = int, FUNCTION = shaky);
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT id +% 1 AS x FROM orders', NULL);
CREATE AGGREGATE shaky_sum(int) (SFUNC = shaky, STYPE = int, INITCOND = '0');
SELECT dbt_pgstream.create_stream_table('bad', 'SELECT shaky_sum(id) AS x FROM orders', NULL);

-- a query of 200 kB is just a query
SELECT dbt_pgstream.create_stream_table('big', 'SELECT id /* ' || repeat('x', 150000) || ' */, $$' || repeat('y', 50000) || '$$::text AS pad, '
    || string_agg('id + ' || i || ' AS c' || i, ', ') || ' FROM orders', NULL)
FROM generate_series(1, 1500) i;
SELECT oracle.refresh('big');
SELECT dbt_pgstream.drop_stream_table('big');

-- what would happen, without doing it
SELECT * FROM dbt_pgstream.check_query('SELECT customer, count(*) AS n FROM orders GROUP BY customer');
SELECT * FROM dbt_pgstream.check_query('SELECT note, now() AS seen FROM orders LIMIT 3');
SELECT * FROM dbt_pgstream.check_query('SELECT id, id, random() FROM orders FOR UPDATE');
SELECT * FROM dbt_pgstream.check_query('DROP TABLE orders');

SELECT count(*) AS stream_tables, (SELECT count(*) FROM pg_class WHERE relnamespace = 'dbt_pgstream_internal'::regnamespace AND relname LIKE 'q\_%') AS views
FROM dbt_pgstream.pgs_stream_tables;
DROP TABLE by_customer;
SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
