-- stream tables on stream tables: order, one snapshot, cycles
\set SHOW_CONTEXT never
CREATE SCHEMA d;
SET search_path = d, public;
CREATE TABLE base (id int PRIMARY KEY, g int, v int);
INSERT INTO base SELECT i, i % 4, i FROM generate_series(1, 20) i;
SELECT dbt_pgstream.create_stream_table('a', 'SELECT id, g, v * 2 AS v FROM base', NULL);
SELECT dbt_pgstream.create_stream_table('b1', 'SELECT g, sum(v) AS s FROM a GROUP BY g', 'calculated');
CREATE VIEW through AS SELECT g, max(v) AS m FROM a GROUP BY g;
SELECT dbt_pgstream.create_stream_table('b2', 'SELECT * FROM through', 'calculated');
SELECT dbt_pgstream.create_stream_table('c', 'SELECT b1.g, s, m FROM b1 JOIN b2 USING (g)', NULL);
SELECT dbt_pgstream.create_stream_table('lonely', 'SELECT count(*) AS n FROM base', NULL);
-- a mere update in the base must take the old row out of everything
UPDATE base SET v = 100 WHERE id = 20;
DELETE FROM base WHERE id = 1;
SELECT dbt_pgstream.refresh_all();
SELECT pgs_name, oracle.check(pgs_relid::regclass) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'd' ORDER BY 1;
-- one snapshot: all agree on when they were right
SELECT count(DISTINCT last_refresh_at) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'd';
SELECT s.pgs_name, source_relid::regclass, source_type, columns_used FROM dbt_pgstream.pgs_dependencies JOIN dbt_pgstream.pgs_stream_tables s USING (pgs_id)
ORDER BY 1, 2;
-- refreshing only the last: right by what it reads
UPDATE base SET v = 5 WHERE id = 20;
SELECT oracle.refresh('c');
-- a failing table holds up no other, and is recorded
ALTER TABLE base ADD z int DEFAULT 1;
SELECT dbt_pgstream.create_stream_table('fails', 'SELECT 1 / z AS q FROM base', NULL);
UPDATE base SET z = 0 WHERE id = 20;
\set VERBOSITY terse
SELECT dbt_pgstream.refresh_all();
\set VERBOSITY default
SELECT pgs_name, oracle.check(pgs_relid::regclass) FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'd' AND pgs_name <> 'fails' ORDER BY 1;
SELECT status, consecutive_errors, last_error, retry_at > now() AS backs_off, (SELECT count(*) FROM fails) AS keeps_rows
FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'fails';
SELECT action, status, error_message FROM dbt_pgstream.get_refresh_history('fails', 1);
\set VERBOSITY terse
SELECT dbt_pgstream.refresh_stream_table('fails');
\set VERBOSITY default
UPDATE base SET z = 1;
SELECT oracle.refresh('fails');
SELECT status, consecutive_errors, last_error, retry_at FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'fails';
-- suspension
SET dbt_pgstream.max_consecutive_errors = 2;
UPDATE base SET z = 0 WHERE id = 20;
SET client_min_messages = error;
SELECT dbt_pgstream.refresh_all();
SELECT dbt_pgstream.refresh_all();
RESET client_min_messages;
SELECT status, consecutive_errors FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'fails';
SELECT dbt_pgstream.alter_stream_table('fails', status => 'ACTIVE');
SELECT status, consecutive_errors, retry_at FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'fails';
DROP TABLE fails;
-- cycles
SELECT dbt_pgstream.alter_stream_table('a', 'SELECT id, g, v FROM a');
SELECT dbt_pgstream.alter_stream_table('a', 'SELECT a.id, a.g, c.m AS v FROM base a JOIN c USING (g)');
SELECT dbt_pgstream.alter_stream_table('b2', 'SELECT g, (SELECT max(x.m) FROM through x) AS m FROM c');
SELECT oracle.check('a');
-- pause, resume, change of schedule and mode
SELECT dbt_pgstream.alter_stream_table('a', schedule => '1h', refresh_mode => 'full', status => 'paused');
SELECT schedule, refresh_mode, status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'a';
SELECT due_at IS NOT NULL AS due, next_try_at FROM dbt_pgstream_internal.schedule_times() WHERE relid = 'a'::regclass;
SELECT oracle.refresh('a');
SELECT status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'a';
SELECT dbt_pgstream.alter_stream_table('a', schedule => 'manual', status => 'active');
SELECT schedule, refresh_mode, status FROM dbt_pgstream.pgs_stream_tables WHERE pgs_name = 'a';
SELECT dbt_pgstream.alter_stream_table('a', status => 'SUSPENDED');
SELECT dbt_pgstream.alter_stream_table('a', status => 'nonsense');
SELECT dbt_pgstream.alter_stream_table('base', status => 'PAUSED');
SELECT dbt_pgstream.alter_stream_table('nosuch', status => 'PAUSED');
-- alter the query in place: oid, indexes and what reads from it stay
CREATE INDEX a_v ON a (v);
SELECT 'a'::regclass::oid AS before \gset
SELECT dbt_pgstream.alter_stream_table('a', 'SELECT id, g, v * 3 AS v FROM base');
SELECT 'a'::regclass::oid = :before AS same_oid, oracle.check('a');
SELECT dbt_pgstream.alter_stream_table('a', 'SELECT id, g FROM base');
SELECT dbt_pgstream.alter_stream_table('a', 'SELECT id, g, v::text AS v FROM base');
-- explain
SELECT property, value FROM dbt_pgstream.explain_st('c') WHERE property NOT IN ('scheduler', 'last refresh') AND property NOT LIKE 'plan%' AND property NOT LIKE 'delta%';
-- drop refuses to take others along, unless told
\set VERBOSITY terse
SELECT dbt_pgstream.drop_stream_table('a');
\set VERBOSITY default
SET client_min_messages = warning;
SELECT dbt_pgstream.drop_stream_table('a', true);
SELECT pgs_name, status, last_error FROM dbt_pgstream.pgs_stream_tables WHERE pgs_schema = 'd' ORDER BY 1;
DROP SCHEMA d CASCADE;
