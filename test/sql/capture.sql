-- a refresh is skipped while nothing that it reads has changed, and never otherwise
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA c;
SET search_path = c, public;
-- what the scheduler does, without it (it is off here)
-- whether a refresh computed the query: a function in it leaves a trace (of each row, so none of an empty table)
CREATE SEQUENCE computed;
CREATE FUNCTION tick(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM nextval('c.computed'); RETURN $1; END$$;
CREATE FUNCTION was_computed() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE yes boolean := (SELECT is_called FROM c.computed);
BEGIN PERFORM setval('c.computed', 1, false); RETURN yes; END$$;
CREATE FUNCTION go(st text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE computed boolean;
BEGIN
    PERFORM was_computed();
    PERFORM dbt_pgstream.refresh_stream_table(st);
    computed := was_computed();
    RETURN CASE WHEN computed THEN 'computed, ' ELSE 'skipped, ' END || oracle.check(st::regclass);
END$$;

CREATE TABLE src (id int PRIMARY KEY, v int);
INSERT INTO src VALUES (1, 1), (2, 2);
SELECT dbt_pgstream.create_stream_table('st', 'SELECT tick(id) AS id, v FROM src', '1d');
SELECT dbt_pgstream.create_stream_table('st2', 'SELECT tick(1) AS one, sum(v) AS s FROM st', '1d');
SELECT dbt_pgstream.create_stream_table('manual', 'SELECT tick(id) AS id FROM src', NULL);
SELECT go('st'), go('st');			-- no trigger yet: computed each time
SELECT value FROM dbt_pgstream.explain_st('st') WHERE property = 'capture';
SELECT oracle.attach();
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%' ORDER BY 2;
SELECT value FROM dbt_pgstream.explain_st('st') WHERE property = 'capture';
SELECT s.pgs_name, source_relid::regclass, cdc_mode FROM dbt_pgstream.pgs_dependencies JOIN dbt_pgstream.pgs_stream_tables s USING (pgs_id) ORDER BY 1, 2;
SELECT go('st');				-- the first with the trigger there: takes the frontier
SELECT go('st');
SELECT go('st2'), go('st2');
-- every way to write
INSERT INTO src VALUES (3, 3);
SELECT go('st'), go('st');
SELECT go('st2'), go('st2');
UPDATE src SET v = v + 1 WHERE id = 3;
SELECT go('st'), go('st');
UPDATE src SET v = v WHERE id = 3;
SELECT go('st');
DELETE FROM src WHERE id = 3;
SELECT go('st'), go('st');
TRUNCATE src;
SELECT go('st'), go('st');
COPY src FROM stdin;
1	1
2	2
\.
SELECT go('st'), go('st');
MERGE INTO src USING (VALUES (2, 20), (5, 50)) x (id, v) ON x.id = src.id WHEN MATCHED THEN UPDATE SET v = x.v WHEN NOT MATCHED THEN INSERT VALUES (x.id, x.v);
SELECT go('st'), go('st');
INSERT INTO src VALUES (5, 51) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT go('st'), go('st');
WITH d AS (DELETE FROM src WHERE id = 5 RETURNING id) SELECT count(*) FROM d;
SELECT go('st'), go('st');
SET session_replication_role = replica;
INSERT INTO src VALUES (6, 6);
RESET session_replication_role;
SELECT go('st'), go('st');
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent VALUES (1), (2), (6), (7);
ALTER TABLE src ADD FOREIGN KEY (id) REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE;
SELECT go('st'), go('st');
DELETE FROM parent WHERE id = 6;
SELECT go('st'), go('st');
UPDATE parent SET id = 3 WHERE id = 2;
SELECT go('st'), go('st');
-- in one transaction: before and after, savepoints
BEGIN;
INSERT INTO src VALUES (7, 7);
SELECT go('st'), go('st');
UPDATE src SET v = 70 WHERE id = 7;
SELECT go('st'), go('st');
SAVEPOINT s;
UPDATE src SET v = 71 WHERE id = 7;
SELECT go('st');
ROLLBACK TO s;
SELECT go('st');
SAVEPOINT s2;
UPDATE src SET v = 72 WHERE id = 7;
RELEASE s2;
COMMIT;
SELECT go('st'), go('st');
BEGIN; UPDATE src SET v = 73 WHERE id = 7; ROLLBACK;
SELECT go('st');
-- a refresh in the middle of a statement that writes
CREATE FUNCTION in_the_middle(int) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM dbt_pgstream.refresh_stream_table('c.st'); RETURN $1; END$$;
INSERT INTO parent VALUES (8), (9);
INSERT INTO src SELECT in_the_middle(i), i FROM generate_series(8, 9) i;
SELECT go('st'), go('st');
-- DDL
ALTER TABLE src DISABLE TRIGGER pgstream_capture_update;
SELECT value FROM dbt_pgstream.explain_st('st') WHERE property = 'capture';
UPDATE src SET v = 80 WHERE id = 8;
SELECT go('st');
UPDATE src SET v = 81 WHERE id = 8;
ALTER TABLE src ENABLE ALWAYS TRIGGER pgstream_capture_update;
SELECT go('st'), go('st');
DROP TRIGGER pgstream_capture_delete ON src;
UPDATE src SET v = 82 WHERE id = 8;
SELECT go('st'), go('st');
UPDATE src SET v = 83 WHERE id = 8;
SELECT oracle.attach();
SELECT go('st'), go('st');
VACUUM FULL src;
SELECT go('st');
ALTER TABLE src ADD COLUMN extra int DEFAULT 7;
SELECT go('st'), go('st');
CREATE TABLE kid () INHERITS (src);
INSERT INTO kid VALUES (90, 90);
SELECT value FROM dbt_pgstream.explain_st('st') WHERE property = 'capture';
SELECT go('st');
INSERT INTO kid VALUES (91, 91);
SELECT go('st');
DROP TABLE kid;
ANALYZE src;
SELECT go('st'), go('st');
-- a function or a type that means something else
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE moods (m mood);
INSERT INTO moods VALUES ('sad');
SELECT dbt_pgstream.create_stream_table('uses_f', 'SELECT tick(f(id)) AS x FROM parent', '1d');
SELECT dbt_pgstream.create_stream_table('uses_mood', 'SELECT tick(1) AS one, m, m::text AS t FROM moods', '1d');
SELECT dbt_pgstream.create_stream_table('plain_mood', 'SELECT tick(1) AS one, m FROM moods', '1d');
SELECT oracle.attach();
SELECT go('uses_f'), go('uses_f'), go('plain_mood'), go('plain_mood');
SELECT go('uses_mood'), go('uses_mood');	-- the text of an enum changes by DDL only, which leaves a mark
CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
SELECT go('uses_f'), go('uses_f'), go('plain_mood'), go('plain_mood');
SELECT dbt_pgstream.refresh_stream_table('uses_mood');
SELECT m, t FROM uses_mood;
-- the stream table itself is not as it was left
ALTER TABLE st DISABLE TRIGGER pgstream_guard;
DELETE FROM st;
SELECT go('st');
DELETE FROM st;
ALTER TABLE st ENABLE ALWAYS TRIGGER pgstream_guard;
SELECT go('st'), go('st');
SELECT dbt_pgstream.repair_stream_table('st');
SELECT dbt_pgstream.alter_stream_table('st', 'SELECT tick(id) AS id, v + 1 AS v FROM src');
SELECT go('st'), oracle.check('st2');
SELECT go('st2');
-- a captured column that nobody uses any more may be altered and dropped; used again, it is captured anew
CREATE TABLE wide (id int PRIMARY KEY, a int, b int, c int) PARTITION BY RANGE (id);
CREATE TABLE wide1 (c int, b int, a int, id int NOT NULL);
ALTER TABLE wide ATTACH PARTITION wide1 DEFAULT;
SELECT dbt_pgstream.create_stream_table('keeps', 'SELECT id, a FROM wide', '1d');
SELECT dbt_pgstream.create_stream_table('leaves', 'SELECT id, b, c FROM wide', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_all();
DROP TABLE leaves;
ALTER TABLE wide ALTER b TYPE text, DROP c;
INSERT INTO wide VALUES (1, 1, 'one'); INSERT INTO wide1 (id, a, b) VALUES (2, 2, repeat('two', 1000));
SELECT oracle.refresh('keeps');
UPDATE wide SET a = 3, b = 'three';
SELECT oracle.refresh('keeps');
SELECT dbt_pgstream.create_stream_table('again', 'SELECT id, b FROM wide', '1d');
SELECT value FROM dbt_pgstream.explain_st('again') WHERE property = 'capture';
SELECT oracle.refresh('again');
SELECT oracle.attach();
SELECT oracle.refresh('again');
UPDATE wide1 SET b = 'four' WHERE id = 2;
SELECT oracle.refresh('again'), oracle.refresh('keeps');
DROP TABLE keeps, again;
DROP TABLE wide;
-- what can't be captured is computed
SELECT dbt_pgstream.create_stream_table('clock', 'SELECT tick(id) AS id, now() AS at FROM src', '1d', 'AUTO');
CREATE TABLE part (id int) PARTITION BY LIST (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE UNLOGGED TABLE unl (id int);
CREATE MATERIALIZED VIEW mat AS SELECT 1 AS id;
CREATE TABLE secured (id int);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
SELECT dbt_pgstream.create_stream_table('on_' || t, 'SELECT id FROM ' || t, '1d') FROM unnest(ARRAY['part', 'part1', 'unl', 'mat', 'secured']) t;
SELECT oracle.attach();
SELECT s.pgs_name, e.value FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(quote_ident(s.pgs_schema) || '.' || quote_ident(pgs_name)) e
WHERE e.property = 'capture' AND pgs_schema = 'c' ORDER BY 1;
SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%' ORDER BY 1;
-- change buffers are emptied once all have seen what is in them: the segment that has grown is retired, and then truncated
CREATE FUNCTION buffered(of_source regclass) RETURNS bigint LANGUAGE sql RETURN dbt_pgstream_internal.buffered_rows(of_source);
DO $$BEGIN FOR i IN 1..5000 LOOP INSERT INTO c.moods VALUES ('glad'); COMMIT; END LOOP; END$$;
SELECT buffered('moods') >= 5000 AS kept;
SELECT dbt_pgstream_internal.maintain_capture();		-- retires the segment
SELECT dbt_pgstream_internal.maintain_capture();		-- not consumed yet
SELECT buffered('moods') >= 5000 AS kept;
INSERT INTO moods VALUES ('glad');						-- goes to the other one
SELECT dbt_pgstream.refresh_all();
SELECT dbt_pgstream_internal.maintain_capture();
SELECT buffered('moods');
INSERT INTO moods VALUES ('blue');
SELECT go('plain_mood'), go('plain_mood');
-- an update of a column that nobody uses collects no rows, but a trigger of the user that wants them gets them
CREATE TABLE wide (id int PRIMARY KEY, used int, unused int, twice int GENERATED ALWAYS AS (unused * 2) STORED);
INSERT INTO wide SELECT i, i, i FROM generate_series(1, 5) i;
SELECT dbt_pgstream.create_stream_table('on_wide', 'SELECT id, used FROM wide', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_stream_table('on_wide');
UPDATE wide SET unused = 7;
SELECT buffered('wide');
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE WARNING '% old, % new', (SELECT count(*) FROM old_rows), (SELECT count(*) FROM new_rows); RETURN NULL; END$$;
CREATE TRIGGER seen AFTER UPDATE ON wide REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION seen();
UPDATE wide SET unused = 8;
SELECT buffered('wide');
DROP TRIGGER seen ON wide;
-- a trigger before it sets a column that is used
CREATE FUNCTION sets_used() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.used := NEW.unused; RETURN NEW; END$$;
CREATE TRIGGER sets_used BEFORE UPDATE ON wide FOR EACH ROW EXECUTE FUNCTION sets_used();
UPDATE wide SET unused = 9 WHERE id < 3;
SELECT buffered('wide');
DROP TRIGGER sets_used ON wide;
-- somebody uses a column that is generated from it
SELECT dbt_pgstream.create_stream_table('on_twice', 'SELECT id, twice FROM wide', '1d');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_stream_table('on_twice');
UPDATE wide SET unused = 10 WHERE id = 4;
SELECT buffered('wide');
SELECT dbt_pgstream.refresh_stream_table('on_twice'), dbt_pgstream.refresh_stream_table('on_wide');
SELECT oracle.check('on_twice'), oracle.check('on_wide');
DROP TABLE on_wide, on_twice;
-- WITH and EXISTS that select everything use what the result depends on, and a buffer holds no more
CREATE TABLE many (id int PRIMARY KEY, g int, v int, w int, x text);
INSERT INTO many SELECT i, i % 3, i, i, 'x' || i FROM generate_series(1, 30) i;
CREATE FUNCTION held(regclass) RETURNS text LANGUAGE sql AS $$SELECT string_agg(b.attname, ', ' ORDER BY substr(b.attname, 2)::int) FROM dbt_pgstream_internal.source s
    JOIN pg_attribute b ON attrelid = s.buffer_b AND attname ~ '^c[0-9]+$' WHERE relid = $1$$;
SELECT dbt_pgstream.create_stream_table('all_of_many', 'SELECT * FROM many', '1d');
SELECT oracle.attach();
SELECT held('many');
SELECT dbt_pgstream.create_stream_table('renamed', 'WITH source AS (SELECT * FROM many), renamed AS (SELECT id AS many_id, g AS grp, v AS value, x AS name FROM source)
    SELECT grp, sum(value) AS s, (SELECT count(*) FROM renamed AS r WHERE r.grp > renamed.grp) AS above FROM renamed GROUP BY grp', '1d');
SELECT dbt_pgstream.create_stream_table('existing', 'SELECT DISTINCT g FROM many m WHERE EXISTS (SELECT * FROM many WHERE many.v = m.v + 1)
    AND NOT EXISTS (SELECT x, count(*) FROM many WHERE many.v = m.v + 2 GROUP BY w, x HAVING max(id) > 20)', '1d');
DELETE FROM many WHERE id = 5;
UPDATE many SET x = 'other' WHERE id = 6;
-- while it is wide; and when it is narrow, with changes of before
SELECT dbt_pgstream.refresh_stream_table('existing');
UPDATE many SET w = w + 1;
DROP TABLE all_of_many;
SELECT oracle.attach();
SELECT held('many');
UPDATE many SET g = g + 1 WHERE id % 4 = 0;
SELECT dbt_pgstream.refresh_stream_table('renamed'), dbt_pgstream.refresh_stream_table('existing');
SELECT oracle.check('renamed'), oracle.check('existing');
DROP TABLE existing;
SELECT oracle.attach();
SELECT held('many');
SELECT buffered('many');
UPDATE many SET x = 'unused';
SELECT buffered('many');
UPDATE many SET v = -v WHERE id > 20;
SELECT dbt_pgstream.refresh_stream_table('renamed');
SELECT oracle.check('renamed');
SELECT dbt_pgstream.create_stream_table('all_again', 'SELECT * FROM many', '1d');
UPDATE many SET x = 'used', g = 1 WHERE id < 10;
SELECT oracle.attach();
SELECT held('many');
UPDATE many SET x = 'used again' WHERE id < 5;
SELECT dbt_pgstream.refresh_stream_table('renamed'), dbt_pgstream.refresh_stream_table('all_again');
DELETE FROM many WHERE id < 8;
SELECT dbt_pgstream.refresh_stream_table('renamed'), dbt_pgstream.refresh_stream_table('all_again');
SELECT oracle.check('renamed'), oracle.check('all_again');
SELECT h.action FROM dbt_pgstream.pgs_refresh_history h JOIN dbt_pgstream.pgs_stream_tables USING (pgs_id) WHERE pgs_name = 'renamed' ORDER BY refresh_id DESC LIMIT 3;
-- what is written while a stream table has no claim to be told is not missed when it has one again: another reader keeps the buffer, or nobody does
SELECT dbt_pgstream.alter_stream_table('all_again', refresh_mode => 'FULL');
SELECT oracle.attach();
SELECT held('many');
UPDATE many SET x = 'untold' WHERE id > 20;
SELECT dbt_pgstream.alter_stream_table('all_again', refresh_mode => 'DIFFERENTIAL');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_stream_table('all_again'), dbt_pgstream.refresh_stream_table('renamed');
SELECT oracle.check('all_again'), oracle.check('renamed');
DROP TABLE renamed;
SELECT dbt_pgstream.alter_stream_table('all_again', refresh_mode => 'FULL');
SELECT oracle.attach();
SELECT held('many');
UPDATE many SET x = 'untold again' WHERE id > 25;
SELECT dbt_pgstream.alter_stream_table('all_again', refresh_mode => 'DIFFERENTIAL');
SELECT oracle.attach();
SELECT dbt_pgstream.refresh_stream_table('all_again');
SELECT oracle.check('all_again');
UPDATE many SET x = 'told' WHERE id > 28;
SELECT dbt_pgstream.refresh_stream_table('all_again');
SELECT h.action, oracle.check('all_again') FROM dbt_pgstream.pgs_refresh_history h JOIN dbt_pgstream.pgs_stream_tables USING (pgs_id) WHERE pgs_name = 'all_again' ORDER BY refresh_id DESC LIMIT 1;
DROP TABLE all_again;
-- marks, too
DO $$BEGIN FOR i IN 1..1000 LOOP TRUNCATE c.src CASCADE; COMMIT; END LOOP; END$$;
SELECT count(*) >= 1000 AS many FROM dbt_pgstream_internal.change;
SELECT dbt_pgstream.refresh_all();
SELECT oracle.attach();
SELECT count(*) < 20 AS few FROM dbt_pgstream_internal.change;
SELECT s.pgs_name, oracle.check(pgs_relid::regclass) FROM dbt_pgstream.pgs_stream_tables s WHERE pgs_name NOT IN ('clock') ORDER BY 1;
SELECT go('plain_mood');
INSERT INTO moods VALUES ('blue');
SELECT go('plain_mood'), go('plain_mood');
-- a source that nobody wants any more loses its trigger
DROP TABLE uses_mood, plain_mood;
SELECT oracle.attach();
SELECT DISTINCT tgrelid::regclass FROM pg_trigger WHERE tgname LIKE 'pgstream_capture%' ORDER BY 1;
DROP SCHEMA c CASCADE;
