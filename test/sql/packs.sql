-- change buffers hold small rows packed, large ones by themselves: values of every kind, length and alignment, and what comes between
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET jit = off;
CREATE SCHEMA pk;
SET search_path = pk, public;
SET dbt_pgstream.full_refresh_factor = 1e9;		-- deltas, though tables this small are as well computed whole
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN short_text AS text CHECK (length(value) < 100);
CREATE TABLE every (
    id int PRIMARY KEY, bo bool, ch "char", i2 int2, tx text, i8 bigint, f4 real, va varchar(40), f8 float8, da date, ti time, tz timetz, ts timestamptz,
    iv interval, nu numeric, na name, bp char(7), u uuid, ma macaddr, m8 macaddr8, ip inet, po point, bx box, li line, by bytea, bi bit(3), vb varbit, js jsonb,
    a2 int2[], a8 bigint[], at text[], ov oidvector, ra int8range, mr int4multirange, co pair, e mood, d short_text, ti_d tid, ls pg_lsn, sn pg_snapshot, ts_v tsvector);
-- row i of every; a third of the columns NULL, other ones in each row
CREATE FUNCTION make(i int) RETURNS every LANGUAGE plpgsql AS $$
DECLARE r every; n int := 0; w text := repeat(chr(97 + i % 26), i * 7 % 40); k text;
BEGIN
    r := ROW(i, i % 2 = 0, chr(33 + i % 90)::"char", i % 1000, repeat('x', i * 37 % 300), i * 1e10::bigint, i / 3.0, w, i / 7.0, date '2026-01-01' + i, time '00:00' + i * interval '1 s',
        timetz '00:00+01' + i * interval '1 s', timestamptz '2026-01-01 00:00+00' + i * interval '1 h', i * interval '1 mon 1 day 1.5 s', i * 1.10 + 1e-9 * (i % 3), 'name' || i, 'b' || i % 1000,
        md5(i::text)::uuid, '08:00:2b:01:02:03'::macaddr, '08:00:2b:01:02:03:04:05'::macaddr8, inet '10.0.0.0' + i, point(i, -i), box(point(i, i), point(0, 0)), line(point(0, 0), point(i + 1, 1)),
        decode(md5(i::text), 'hex'), (i % 8)::bit(3), repeat('10', i % 20)::varbit, jsonb_build_object('k', i, 'w', w), ARRAY[i % 100, i % 7]::int2[], ARRAY[i, i * 2]::bigint[], ARRAY[w, NULL, 'z'],
        (i % 9 || ' 2')::oidvector, int8range(i, i + 5), int4multirange(int4range(i, i + 2)), ROW(i, w)::pair, CASE WHEN i % 3 = 0 THEN 'glad' ELSE 'sad' END, left(w, 90),
        format('(%s,1)', i)::tid, '0/16'::pg_lsn, '10:20:10,14'::pg_snapshot, to_tsvector('simple', w));
    FOR k IN SELECT attname FROM pg_attribute WHERE attrelid = 'every'::regclass AND attnum > 1 ORDER BY attnum LOOP
        n := n + 1;
        IF (n + i) % 3 = 0 THEN r := jsonb_populate_record(r, jsonb_build_object(k, NULL)); END IF;
    END LOOP;
    RETURN r;
END$$;
-- whether rows of the segments are packs, with nothing beside them, how many rows are packed, and how many are rows themselves
CREATE FUNCTION segments(of_source regclass, OUT packs boolean, OUT packed bigint, OUT alone bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT bool_and((SELECT count(*) FROM jsonb_object_keys(s)) = 4) FILTER (WHERE s ? ''pack''), coalesce(sum((s ->> ''packed'')::int), 0), count(*) FILTER (WHERE NOT s ? ''pack'')
                    FROM (SELECT jsonb_strip_nulls(to_jsonb(a)) AS s FROM %s a UNION ALL SELECT jsonb_strip_nulls(to_jsonb(b)) FROM %s b) s',
                   (SELECT buffer_a FROM dbt_pgstream_internal.source WHERE relid = of_source)::regclass, (SELECT buffer_b FROM dbt_pgstream_internal.source WHERE relid = of_source)::regclass)
        INTO packs, packed, alone;
END$$;
SELECT dbt_pgstream.create_stream_table('all_of', 'SELECT * FROM every', '1d');
SELECT dbt_pgstream.create_stream_table('some_of', 'SELECT nu, tz, d, count(*) AS n, sum(i8) AS s, max(va) AS m FROM every WHERE ov IS NULL OR ov > ''3 2'' GROUP BY nu, tz, d', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
INSERT INTO every SELECT (make(i)).* FROM generate_series(1, 400) i;
SELECT * FROM segments('every');
SELECT oracle.follow('pk');
UPDATE every e SET (i2, tx, nu, co) = (SELECT m.i2, m.tx, m.nu, m.co FROM make(e.id + 1) m);
UPDATE every SET bo = NOT bo, ra = NULL WHERE id % 3 = 0;
DELETE FROM every WHERE id % 5 = 0;
SELECT oracle.follow('pk');
-- of a transaction some of which was rolled back
BEGIN;
INSERT INTO every SELECT (make(i)).* FROM generate_series(401, 450) i;
SAVEPOINT a;
DELETE FROM every WHERE id > 300;
ROLLBACK TO a;
UPDATE every SET va = 'v' || id WHERE id > 420;
SELECT dbt_pgstream.refresh_stream_table('some_of');
SELECT oracle.check('some_of');
DELETE FROM every WHERE id > 440;
COMMIT;
SELECT oracle.follow('pk');
SELECT dbt_pgstream_internal.buffered_rows('every'::regclass) = (SELECT packed + alone FROM segments('every')) AS counted;
-- rows of every size around a pack's, values that are compressed or kept elsewhere; an update of which one version is large
CREATE TABLE sizes (id int PRIMARY KEY, t text, u text, n int);
ALTER TABLE sizes ALTER u SET STORAGE EXTERNAL;
SELECT dbt_pgstream.create_stream_table('all_sizes', 'SELECT id, t, u FROM sizes', '1d');
SELECT dbt_pgstream.create_stream_table('lengths', 'SELECT length(t) % 4 AS r, count(*) AS n, sum(length(u)) AS s FROM sizes GROUP BY 1', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql AS $$SELECT left(string_agg(md5(i::text), ''), n) FROM generate_series(0, n / 32) i$$;
INSERT INTO sizes SELECT i, noise(i), 'u' || i, 0 FROM generate_series(1, 2100, 3) i;
INSERT INTO sizes SELECT i, noise(i), 'u' || i, 0 FROM generate_series(1886, 1990, 3) i;
SELECT packs, packed > 600 AS packed, alone BETWEEN 20 AND 100 AS alone FROM segments('sizes');
INSERT INTO sizes SELECT 3000 + i, repeat('compressed', 300 * i), noise(3000), 0 FROM generate_series(1, 20) i;
SELECT oracle.follow('pk');
UPDATE sizes SET t = t || 'x' WHERE id BETWEEN 1850 AND 1990;
UPDATE sizes SET t = noise(4000) WHERE id BETWEEN 1 AND 30;
SELECT oracle.follow('pk');
-- an update for somebody else, of rows large and small
SELECT dbt_pgstream.create_stream_table('without', 'SELECT id, u FROM sizes', '1d');
SELECT oracle.attach();
UPDATE sizes SET t = t || '!' WHERE id < 40 OR id > 1950;
SELECT oracle.refresh('without');
SELECT oracle.follow('pk');
DROP TABLE without;
-- large ones between small ones
INSERT INTO sizes SELECT 4000 + i, noise(i % 3 * 1500), i, i FROM generate_series(1, 300) i;
SELECT packs, alone > 100 AS alone FROM segments('sizes');
SELECT oracle.follow('pk');
UPDATE sizes SET t = 'short' WHERE id % 2 = 0;
UPDATE sizes SET u = u || 'y' WHERE id > 3000;
SELECT oracle.follow('pk');
-- nobody's update: nothing is written, though old versions lie elsewhere
SELECT sum(packed + alone) AS before FROM segments('sizes') \gset
UPDATE sizes SET n = n + 1, t = t || '', u = u || '';
SELECT sum(packed + alone) = :before AS nothing FROM segments('sizes');
DELETE FROM sizes WHERE id % 3 = 1;
SELECT oracle.follow('pk');
-- packs of before columns come, and go; and of none at all
DROP TABLE all_sizes;
UPDATE sizes SET u = 'u' WHERE id % 7 = 0;
SELECT oracle.attach();
UPDATE sizes SET u = 'uu', t = t || 'z' WHERE id % 11 = 0;
SELECT dbt_pgstream.create_stream_table('newer', 'SELECT id, n, u FROM sizes', '1d');
UPDATE sizes SET n = n + id WHERE id % 2 = 0;
SELECT oracle.attach();
DELETE FROM sizes WHERE id % 13 = 0;
INSERT INTO sizes SELECT i, NULL, NULL, NULL FROM generate_series(5000, 5100) i;
SELECT dbt_pgstream.refresh_all();
SELECT oracle.check('newer'), oracle.check('lengths');
UPDATE sizes SET n = -id WHERE id > 5050;
UPDATE sizes SET u = 'as long as ' || id WHERE id > 5090 OR id < 10;
SELECT oracle.follow('pk');
CREATE TABLE uncounted (x int);
INSERT INTO uncounted SELECT generate_series(1, 10);
SELECT dbt_pgstream.create_stream_table('counted', 'SELECT count(*) AS n FROM uncounted', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_stream_table('counted');
INSERT INTO uncounted SELECT generate_series(1, 5000);
DELETE FROM uncounted WHERE x % 2 = 0;
SELECT packed FROM segments('uncounted');
SELECT oracle.follow('pk');
SELECT * FROM counted;
-- a partition and a child whose columns lie elsewhere
CREATE TABLE parted (id int, a uuid, t text, b bool) PARTITION BY RANGE (id);
CREATE TABLE gone (x int, b bool, t text, id int NOT NULL, y numeric, a uuid);
ALTER TABLE gone DROP x, DROP y;
ALTER TABLE parted ATTACH PARTITION gone FOR VALUES FROM (0) TO (1000);
CREATE TABLE rest PARTITION OF parted DEFAULT;
CREATE TABLE whole (id int, t text, b bool);
CREATE TABLE child (more text) INHERITS (whole);
SELECT dbt_pgstream.create_stream_table('of_parted', 'SELECT id, t, a, b FROM parted', '1d');
SELECT dbt_pgstream.create_stream_table('of_whole', 'SELECT b, count(*) AS n, string_agg(t, '','' ORDER BY t) AS s FROM whole GROUP BY b', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
INSERT INTO parted SELECT i, md5(i::text)::uuid, repeat('t', i % 50), i % 2 = 0 FROM generate_series(1, 1500, 7) i;
INSERT INTO gone (id, t) SELECT i, 'direct' FROM generate_series(2, 300) i;
UPDATE gone SET b = true WHERE id % 2 = 0;
UPDATE parted SET id = id + 600 WHERE id BETWEEN 380 AND 420;
INSERT INTO child SELECT i, 'child' || i, i % 3 = 0, 'more' FROM generate_series(1, 100) i;
UPDATE whole SET t = t || '!' WHERE id < 10;
UPDATE child SET more = 'nobody cares';
SELECT oracle.follow('pk');
DROP SCHEMA pk CASCADE;
