-- the upsert: created, unchanged, altered, rebound, replaced, recreated
\set SHOW_CONTEXT never
CREATE SCHEMA u;
SET search_path = u, public;
CREATE TABLE raw (id int PRIMARY KEY, g int, v int);
INSERT INTO raw SELECT i, i % 3, i FROM generate_series(1, 10) i;
CREATE VIEW stg AS SELECT id, g, v FROM raw;
-- the time in the detail differs from run to run
CREATE FUNCTION up(query text, options jsonb DEFAULT '{"schedule": null}', full_refresh boolean DEFAULT false, name text DEFAULT 'm') RETURNS text LANGUAGE sql AS $$
    SELECT action || ': ' || regexp_replace(detail, '\d+ ms', 'N ms') FROM dbt_pgstream.upsert_stream_table('u', name, query, options, full_refresh);
$$;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT 'm'::regclass::oid AS oid \gset
CREATE INDEX m_g ON m (g);
CREATE VIEW reader AS SELECT * FROM m;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT up(E'-- dbt''s comment\nselect  G,\n SUM( v ) as s /* x */ from "u".stg group by 1;\n');
-- the staging view is rebuilt by every dbt run
CREATE VIEW stg__dbt_tmp AS SELECT id, g, v FROM raw;
ALTER VIEW stg RENAME TO stg__dbt_backup;
ALTER VIEW stg__dbt_tmp RENAME TO stg;
DROP VIEW stg__dbt_backup CASCADE;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
-- its meaning changes
CREATE OR REPLACE VIEW stg AS SELECT id, g, v * 2 AS v FROM raw;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT oracle.check('m');
-- options
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"schedule": "1h", "refresh_mode": "full"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"schedule": "1h", "refresh_mode": "FULL"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"schedule": null, "refresh_mode": "DIFFERENTIAL"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"shedule": "1h"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"schedule": 5}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '[]');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"schedule": "whenever"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"refresh_mode": "MAGIC"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"initialize": "perhaps"}');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"engine": "nosuch"}', name => 'n');
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g', '{"engine": "pg_trickle"}', name => 'n');
-- an upstream table that dbt swaps: created, renamed, old one dropped
CREATE TABLE raw__dbt_tmp AS SELECT id, g, v + 1 AS v FROM raw;
ALTER TABLE raw RENAME TO raw__dbt_backup;
ALTER TABLE raw__dbt_tmp RENAME TO raw;
SET client_min_messages = warning;
DROP TABLE raw__dbt_backup CASCADE;
CREATE VIEW stg AS SELECT id, g, v * 2 AS v FROM raw;
RESET client_min_messages;
SELECT status, last_error FROM dbt_pgstream.pgs_stream_tables;
SELECT * FROM reader ORDER BY 1;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT oracle.check('m'), 'm'::regclass::oid = :oid AS same_oid;
-- the same, with the old one still there
CREATE TABLE raw__dbt_tmp AS SELECT id, g, v + 1 AS v FROM raw;
ALTER TABLE raw RENAME TO raw__dbt_backup;
ALTER TABLE raw__dbt_tmp RENAME TO raw;
CREATE OR REPLACE VIEW stg AS SELECT id, g, v * 2 AS v FROM raw;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT oracle.check('m');
DROP TABLE raw__dbt_backup;
-- a seed: reloaded by truncate
TRUNCATE raw;
INSERT INTO raw SELECT i, i % 2, i FROM generate_series(1, 4) i;
SELECT up('SELECT g, sum(v) AS s FROM stg GROUP BY g');
SELECT oracle.refresh('m');
-- another query: with the same columns in place, else anew
SELECT up('SELECT g, sum(v) + 1 AS s FROM stg GROUP BY g');
SELECT oracle.check('m'), 'm'::regclass::oid = :oid AS same_oid, (SELECT count(*) FROM pg_indexes WHERE tablename = 'm') AS indexes;
SET client_min_messages = warning;
SELECT up('SELECT g, sum(v) AS s, count(*) AS n FROM stg GROUP BY g');
RESET client_min_messages;
SELECT oracle.check('m');
SELECT up('SELECT g, sum(v) AS s, count(*) AS n FROM stg GROUP BY g', full_refresh => true);
-- not populated, then populated
SELECT up('SELECT g FROM raw', '{"schedule": null, "initialize": false}', name => 'lazy');
SELECT up('SELECT g FROM raw', '{"schedule": null, "initialize": false}', name => 'lazy');
SELECT up('SELECT g + 1 AS g FROM raw', '{"schedule": null, "initialize": false}', name => 'lazy');
SELECT up('SELECT g + 1 AS g FROM raw', '{"schedule": null, "initialize": true}', name => 'lazy');
SELECT oracle.check('lazy');
-- something else has the name
CREATE TABLE taken (id int);
CREATE VIEW taken_view AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW taken_mat AS SELECT 1 AS x;
SELECT up('SELECT g FROM raw', name => 'taken');
SELECT up('SELECT g FROM raw', name => 'taken_view');
SELECT up('SELECT g FROM raw', name => 'taken_mat');
SELECT up('SELECT g FROM raw', full_refresh => true, name => 'taken');
SELECT up('SELECT g FROM raw', full_refresh => true, name => 'taken_view');
SELECT up('SELECT g FROM raw', full_refresh => true, name => 'taken_mat');
SELECT oracle.check('taken'), oracle.check('taken_view'), oracle.check('taken_mat');
-- bad queries change nothing
SELECT up('SELECT g FROM m', name => 'm');
SELECT up('SELECT g, s + 1 AS s, n FROM m', name => 'm');
SELECT up('SELECT 1; SELECT 2');
SELECT up('SELECT g, random() AS s, 1::bigint AS n FROM raw');
SELECT up('SELECT g FROM nosuch');
SELECT up('SELECT 1 AS x', name => repeat('n', 64));
SELECT oracle.check('m');
-- hostile names
CREATE SCHEMA "U ""q"" ;";
SELECT action FROM dbt_pgstream.upsert_stream_table('U "q" ;', 'Weird.name''s', 'SELECT 1 AS "Q""x"', '{"schedule": null}');
SELECT action FROM dbt_pgstream.upsert_stream_table('U "q" ;', 'Weird.name''s', 'SELECT 1 AS "Q""x"', '{"schedule": null}');
SET client_min_messages = warning;
DROP SCHEMA "U ""q"" ;" CASCADE;
DROP SCHEMA u CASCADE;
SELECT count(*) FROM dbt_pgstream.pgs_stream_tables;
