-- refreshes that look only where a change can have touched the result: exact for every type, and by index where there is one
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA k;
SET search_path = k, public;

CREATE FUNCTION go() RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dbt_pgstream.refresh_all();
    RETURN QUERY SELECT string_agg(s.pgs_name || ' ' || last_action, ', ' ORDER BY s.pgs_name) || ': ' || string_agg(DISTINCT oracle.check(s.pgs_relid::regclass), ', ')
    FROM dbt_pgstream.pg_stat_stream_tables s GROUP BY last_action ORDER BY 1;
END$$;

CREATE FUNCTION changes(st text) RETURNS text LANGUAGE sql AS $$SELECT value FROM dbt_pgstream.explain_st('k.' || st) WHERE property = 'source'$$;

-- a column of each type alone decides where to look (the system column keeps these queries from having a delta)
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE src (id int PRIMARY KEY, t text, n numeric, f float8, ts timestamptz, i interval, u uuid, m mood, nm name, bp char(5), b bytea, r int4range, c pair, bo boolean, s smallint, d positive, a int[], j json);
CREATE FUNCTION fill(i int) RETURNS src LANGUAGE sql AS $$
    SELECT ROW(i, repeat('t' || i % 5, 1 + 3000 * (i % 2)), (i % 4)::numeric(10, 2), CASE i % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' ELSE (i % 4)::float8 END,
        '2026-01-01Z'::timestamptz + (i % 3) * interval '1 day', (i % 3) * interval '1 month', md5((i % 5)::text)::uuid, (ARRAY['sad', 'glad'])[1 + i % 2]::mood,
        ('n' || i % 3)::name, 'b' || i % 3, decode('0' || i % 3, 'hex'), int4range(i % 3, 9), ROW(i % 3, 'y')::pair, i % 2 = 0, (i % 3)::smallint, 1 + i % 3,
        ARRAY[i % 3], to_json(i % 3))::k.src $$;
INSERT INTO src SELECT (fill(i)).* FROM generate_series(1, 12) i;
INSERT INTO src (id) VALUES (13);
SELECT dbt_pgstream.create_stream_table('by_' || c, format('SELECT %s AS o, count(*) AS n, max(id) AS m FROM src WHERE ctid IS NOT NULL GROUP BY %1$s', c), '1d')
FROM unnest(ARRAY['t', 'n', 'f', 'ts', 'i', 'u', 'm', 'nm', 'bp', 'b', 'r', 'c', 'bo', 's', 'd', 'a']) c;
SELECT dbt_pgstream.create_stream_table('rows_j', 'SELECT j, id FROM src WHERE ctid IS NOT NULL', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
SELECT pgs_name, changes(pgs_name) FROM dbt_pgstream.pgs_stream_tables ORDER BY 1;
UPDATE src SET (t, n, f, ts, i, u, m, nm, bp, b, r, c, bo, s, d, a) = (SELECT t, n, f, ts, i, u, m, nm, bp, b, r, c, bo, s, d, a FROM fill(7)) WHERE id = 2;
SELECT * FROM go();
DELETE FROM src WHERE id IN (3, 13);
SELECT * FROM go();
INSERT INTO src (id, n, f) VALUES (20, 1.0, 0), (21, 1.000, '-0');
SELECT * FROM go();
-- a statement of many rows leaves one mark, and the whole is compared
INSERT INTO src (id, t) SELECT i, 'many' FROM generate_series(1000, 11500) i;
SELECT * FROM go();
SELECT * FROM go();
DELETE FROM src WHERE id BETWEEN 1000 AND 11400;
SELECT * FROM go();

-- which queries it fits; some use a system column, so that they have no delta
CREATE TABLE dim (k int PRIMARY KEY, name text, parent int);
SELECT q, reason FROM unnest(ARRAY[
    'SELECT id, name FROM src JOIN dim ON k = id',
    'SELECT s, name FROM src LEFT JOIN dim ON k = id',
    'SELECT id, name FROM src LEFT JOIN dim ON k = id',
    'SELECT id, name FROM src LEFT JOIN dim ON k = id + 1',
    'SELECT id, name FROM dim RIGHT JOIN src ON k = id',
    'SELECT id, name FROM src FULL JOIN dim ON k = id WHERE dim.ctid IS NULL OR id > 0',
    'SELECT d.name, p.name AS parent FROM dim d JOIN dim p ON p.k = d.parent',
    'SELECT name, count(*) AS n FROM dim JOIN src ON id = k GROUP BY name',
    'SELECT k, sum(n) OVER (PARTITION BY k) AS n FROM dim JOIN src ON id = k AND dim.ctid IS NOT NULL',
    'SELECT k, rank() OVER (ORDER BY k) AS n FROM dim WHERE dim.ctid IS NOT NULL',
    'SELECT name FROM dim UNION SELECT t FROM src',
    'SELECT k FROM dim WHERE EXISTS (SELECT FROM src WHERE id = k) AND dim.ctid IS NOT NULL',
    'WITH w AS (SELECT * FROM dim) SELECT k FROM w',
    'SELECT k FROM dim WHERE dim.ctid IS NOT NULL ORDER BY k LIMIT 3',
    'SELECT count(*) AS n FROM dim',
    'SELECT k + 1 AS k FROM dim',
    'SELECT x.k, y.n FROM dim x, LATERAL (SELECT count(*) AS n FROM src WHERE id < x.k) y WHERE x.ctid IS NOT NULL',
    'SELECT k FROM (SELECT k, name FROM dim WHERE name IS NOT NULL) x'
]) WITH ORDINALITY AS x (q, i), LATERAL (SELECT string_agg(block || ': ' || c.reason, '; ') AS reason FROM dbt_pgstream.check_query(q) c WHERE block IN ('src', 'dim')) y ORDER BY i;

-- two sources at once
DROP TABLE by_a, by_b, by_bo, by_bp, by_c, by_d, by_f, by_i, by_m, by_n, by_nm, by_r, by_s, by_t, by_ts, by_u, rows_j;
TRUNCATE src;
INSERT INTO src (id, s) SELECT i, i % 100 FROM generate_series(1, 20000) i;
INSERT INTO dim SELECT i, 'n' || i FROM generate_series(1, 20000) i;
CREATE INDEX ON src (s);
SELECT dbt_pgstream.create_stream_table('joined', 'SELECT id, s, name FROM src JOIN dim ON k = id', '1d');
CREATE UNIQUE INDEX ON joined (id);
SELECT oracle.attach();
ANALYZE src, dim, joined;
SELECT dbt_pgstream.refresh_all();
UPDATE src SET s = 7 WHERE id = 77;
DELETE FROM dim WHERE k = 78;
SELECT dbt_pgstream.refresh_stream_table('joined');
SELECT action, rows_inserted, rows_updated, rows_deleted, oracle.check('joined') FROM dbt_pgstream.get_refresh_history('joined', 1);
DROP SCHEMA k CASCADE;
