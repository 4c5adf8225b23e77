-- what the server's own DDL does to stream tables and their sources
\set SHOW_CONTEXT never
CREATE SCHEMA l;
CREATE SCHEMA l2;
SET search_path = l, public;
CREATE TABLE src (id int PRIMARY KEY, v int, unused text);
INSERT INTO src SELECT i, i FROM generate_series(1, 5) i;
SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', NULL);
CREATE VIEW leftovers AS SELECT
    (SELECT count(*) FROM dbt_pgstream_internal.stream) AS streams,
    (SELECT count(*) FROM dbt_pgstream_internal.history h WHERE NOT EXISTS (SELECT FROM dbt_pgstream_internal.stream s WHERE s.pgs_id = h.pgs_id)) AS orphaned_history,
    (SELECT count(*) FROM pg_class WHERE relnamespace = 'dbt_pgstream_internal'::regnamespace AND relname LIKE 'q\_%') AS views;

-- rename, move, change of owner: of the table and of its source
ALTER TABLE st RENAME TO renamed;
ALTER TABLE renamed SET SCHEMA l2;
ALTER TABLE src RENAME TO "new src";
ALTER TABLE "new src" RENAME COLUMN v TO "V v";
UPDATE "new src" SET "V v" = 50 WHERE id = 5;
SELECT oracle.refresh('l2.renamed');
SELECT pgs_schema, pgs_name FROM dbt_pgstream.pgs_stream_tables;
SELECT value ~ 'V v.* AS v' AND value ~ 'FROM l."new src"' AS follows FROM dbt_pgstream.explain_st('l2.renamed') WHERE property = 'query';
CREATE ROLE l_owner;
GRANT ALL ON SCHEMA l, l2 TO l_owner;
GRANT SELECT ON "new src" TO l_owner;
ALTER TABLE l2.renamed OWNER TO l_owner;
SELECT s.owner, pg_get_userbyid(relowner) AS view_owner FROM dbt_pgstream.pgs_stream_tables s JOIN dbt_pgstream_internal.stream i USING (pgs_id) JOIN pg_class c ON c.oid = i.viewid;
SELECT oracle.refresh('l2.renamed');
REVOKE SELECT ON "new src" FROM l_owner;
SELECT dbt_pgstream.refresh_stream_table('l2.renamed');
GRANT SELECT ON "new src" TO l_owner;
SELECT oracle.refresh('l2.renamed');
REASSIGN OWNED BY l_owner TO CURRENT_USER;
SELECT oracle.refresh('l2.renamed');

-- columns of a stream table are its query's
ALTER TABLE l2.renamed ADD COLUMN x int;
ALTER TABLE l2.renamed DROP COLUMN v;
ALTER TABLE l2.renamed RENAME COLUMN v TO w;
ALTER TABLE l2.renamed ALTER v TYPE bigint;
-- what doesn't touch them is the user's own business
ALTER TABLE l2.renamed SET (fillfactor = 70), ALTER v SET STATISTICS 50;
ALTER TABLE l2.renamed ADD PRIMARY KEY (id);
ALTER TABLE l2.renamed ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE l2.renamed IS 'mine';
SET client_min_messages = error;
CREATE PUBLICATION l_pub FOR TABLE l2.renamed;
UPDATE "new src" SET "V v" = 51 WHERE id = 5;
SELECT oracle.refresh('l2.renamed');
DROP PUBLICATION l_pub;
RESET client_min_messages;
ALTER TABLE l2.renamed DISABLE ROW LEVEL SECURITY;

-- sources: columns in use are kept, others go; types in use too
\set VERBOSITY terse
ALTER TABLE "new src" DROP COLUMN "V v";
\set VERBOSITY default
ALTER TABLE "new src" DROP COLUMN unused;
ALTER TABLE "new src" ADD COLUMN more int;
VACUUM FULL "new src";
SELECT oracle.refresh('l2.renamed');

-- a source dropped with CASCADE: the rows stay, the status says why
\set VERBOSITY terse
DROP TABLE "new src";
\set VERBOSITY default
SET client_min_messages = warning;
DROP TABLE "new src" CASCADE;
RESET client_min_messages;
SELECT status, last_error FROM dbt_pgstream.pgs_stream_tables;
SELECT * FROM l2.renamed ORDER BY id;
SELECT dbt_pgstream.refresh_stream_table('l2.renamed');
SELECT * FROM dbt_pgstream.verify_stream_table('l2.renamed');
SELECT property, value FROM dbt_pgstream.explain_st('l2.renamed') WHERE property IN ('status', 'last error', 'note');
SELECT * FROM dbt_pgstream.check_cdc_health();
SELECT stale FROM dbt_pgstream.pg_stat_stream_tables;
SELECT dbt_pgstream.alter_stream_table('l2.renamed', status => 'ACTIVE');
SELECT status FROM dbt_pgstream.pgs_stream_tables;
SELECT dbt_pgstream.repair_stream_table('l2.renamed');
CREATE TABLE src (id int PRIMARY KEY, v int);
INSERT INTO src VALUES (1, 1), (77, 7);
SELECT dbt_pgstream.repair_stream_table('l2.renamed');
SELECT dbt_pgstream.alter_stream_table('l2.renamed', 'SELECT id, v FROM src');
SELECT status, last_error, oracle.check('l2.renamed') FROM dbt_pgstream.pgs_stream_tables;
-- a dropped column of a source is a lost source, too
SET client_min_messages = warning;
ALTER TABLE src DROP COLUMN v CASCADE;
RESET client_min_messages;
SELECT status, last_error FROM dbt_pgstream.pgs_stream_tables;
ALTER TABLE src ADD COLUMN v int;
SELECT dbt_pgstream.repair_stream_table('l2.renamed');
SELECT status, last_error, oracle.check('l2.renamed') FROM dbt_pgstream.pgs_stream_tables;
-- repair puts back a guard that somebody dropped
DROP TRIGGER pgstream_guard ON l2.renamed;
INSERT INTO l2.renamed VALUES (1000, 1);
SELECT dbt_pgstream.repair_stream_table('l2.renamed');
DELETE FROM l2.renamed;
SELECT oracle.check('l2.renamed');

-- DROP TABLE cleans everything up; so does DROP SCHEMA, also with the source, also in a savepoint that is rolled back
BEGIN;
SAVEPOINT s;
DROP TABLE l2.renamed;
SELECT * FROM leftovers;
ROLLBACK TO s;
SELECT oracle.check('l2.renamed');
COMMIT;
DROP TABLE l2.renamed;
SELECT * FROM leftovers;
SELECT dbt_pgstream.create_stream_table('l2.st', 'SELECT id, v FROM src', NULL);
SELECT dbt_pgstream.create_stream_table('l2.st2', 'SELECT id FROM l2.st', NULL);
SET client_min_messages = warning;
DROP SCHEMA l2 CASCADE;
RESET client_min_messages;
SELECT * FROM leftovers;
-- drop, and create again on the same source: no trace of the first
SELECT dbt_pgstream.create_stream_table('st', 'SELECT id FROM src', NULL);
SELECT dbt_pgstream.drop_stream_table('st');
SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', NULL);
SELECT total_refreshes, rows_inserted, (SELECT count(*) FROM dbt_pgstream.get_refresh_history('st')) FROM dbt_pgstream.pg_stat_stream_tables;
-- a source whose rows move by DDL
CREATE TABLE part (id int, v int) PARTITION BY LIST (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 (id int, v int);
INSERT INTO part VALUES (1, 1);
INSERT INTO part2 VALUES (2, 2);
SELECT dbt_pgstream.create_stream_table('parted', 'SELECT v FROM part', NULL);
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES IN (2);
SELECT oracle.refresh('parted');
ALTER TABLE part DETACH PARTITION part1;
SELECT oracle.refresh('parted');
TRUNCATE part2;
SELECT oracle.refresh('parted');

-- DROP EXTENSION is refused while there are stream tables; with CASCADE it leaves nothing behind
\set VERBOSITY terse
DROP VIEW leftovers;
DROP EXTENSION dbt_pgstream;
SET client_min_messages = warning;
DROP EXTENSION dbt_pgstream CASCADE;
RESET client_min_messages;
SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'dbt_pgstream%';
SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'dbt_pgstream%';
\d
SELECT * FROM src;
CREATE TABLE other (id int);
DROP TABLE other;
CREATE EXTENSION dbt_pgstream;
SELECT dbt_pgstream.create_stream_table('st', 'SELECT id, v FROM src', NULL);
SELECT oracle.refresh('st');
DROP SCHEMA l CASCADE;
DROP ROLE l_owner;
