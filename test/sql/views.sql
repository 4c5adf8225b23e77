-- upstream views are expanded, as far as that means the same
\set SHOW_CONTEXT never
CREATE SCHEMA v;
SET search_path = v, public;
CREATE TABLE raw_orders (order_id int PRIMARY KEY, c int, amount numeric, deleted boolean DEFAULT false);
INSERT INTO raw_orders SELECT i, i % 3, i FROM generate_series(1, 12) i;
CREATE VIEW stg_orders AS SELECT order_id AS id, c AS customer, amount FROM raw_orders WHERE NOT deleted;
CREATE VIEW stg_big (the_id, "Who") AS SELECT id, customer FROM stg_orders WHERE amount > 3;
SELECT dbt_pgstream.create_stream_table('a', 'SELECT customer, sum(amount) AS total FROM stg_orders GROUP BY customer', NULL);
SELECT dbt_pgstream.create_stream_table('b', 'WITH w AS (SELECT * FROM stg_big AS x (k)) SELECT w.k, w."Who", (SELECT count(*) FROM stg_orders o WHERE o.customer = w."Who") AS n FROM w WHERE EXISTS (SELECT FROM stg_big s WHERE s.the_id = w.k) UNION ALL SELECT the_id, "Who", 0 FROM ONLY stg_big', NULL);
SELECT pgs_name, source_relid::regclass, source_type FROM dbt_pgstream.pgs_dependencies JOIN dbt_pgstream.pgs_stream_tables USING (pgs_id) ORDER BY 1, 2;
UPDATE raw_orders SET deleted = true WHERE order_id = 4;
SELECT oracle.refresh('a'), oracle.refresh('b');
-- the views can go, and come back
DROP VIEW stg_orders CASCADE;
UPDATE raw_orders SET amount = 0 WHERE order_id = 5;
SELECT oracle.refresh('a'), oracle.refresh('b');
-- a view that is used as a whole row keeps its type, so it stays
CREATE VIEW stg_orders AS SELECT order_id AS id, c AS customer FROM raw_orders WHERE NOT deleted;
SELECT dbt_pgstream.create_stream_table('whole', 'SELECT (o).id, o::text AS t FROM stg_orders o', NULL);
SELECT source_relid::regclass, source_type FROM dbt_pgstream.pgs_dependencies JOIN dbt_pgstream.pgs_stream_tables USING (pgs_id) WHERE pgs_name = 'whole';
SELECT oracle.refresh('whole');
-- a materialized view is a source of its own
CREATE MATERIALIZED VIEW mat AS SELECT count(*) AS n FROM raw_orders;
SELECT dbt_pgstream.create_stream_table('on_mat', 'SELECT n FROM mat', NULL);
INSERT INTO raw_orders VALUES (100, 1, 1);
SELECT oracle.refresh('on_mat');
REFRESH MATERIALIZED VIEW mat;
SELECT oracle.refresh('on_mat');
SELECT block, rule, reason FROM dbt_pgstream.check_query('SELECT n FROM mat');

-- another's view over a table that only they may read is read as they see it
CREATE ROLE v_alice;
CREATE ROLE v_bob;
GRANT USAGE, CREATE ON SCHEMA v TO v_alice, v_bob;
CREATE TABLE secrets (id int, owner text);
INSERT INTO secrets VALUES (1, 'v_alice'), (2, 'v_bob');
ALTER TABLE secrets OWNER TO v_alice;
SET ROLE v_alice;
CREATE VIEW shown AS SELECT id FROM secrets;
GRANT SELECT ON shown TO v_bob;
SET ROLE v_bob;
SELECT dbt_pgstream.create_stream_table('bobs', 'SELECT id FROM shown', NULL);
SELECT reason FROM dbt_pgstream.check_query('SELECT id FROM shown') OFFSET 1;
SELECT dbt_pgstream.create_stream_table('stolen', 'SELECT id FROM secrets', NULL);
SELECT dbt_pgstream.create_stream_table('stolen', 'SELECT id FROM secrets', NULL, initialize => false);
RESET ROLE;
SELECT source_relid::regclass FROM dbt_pgstream.pgs_dependencies JOIN dbt_pgstream.pgs_stream_tables USING (pgs_id) WHERE pgs_name = 'bobs';
SELECT oracle.refresh('bobs');
REVOKE SELECT ON shown FROM v_bob;
SELECT dbt_pgstream.refresh_stream_table('bobs');
-- row security applies as to the owner
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secrets USING (owner = current_user);
GRANT SELECT ON secrets TO v_bob;
SET ROLE v_bob;
SELECT dbt_pgstream.create_stream_table('rls', 'SELECT id FROM secrets', NULL);
RESET ROLE;
SELECT dbt_pgstream.refresh_stream_table('rls');
SELECT * FROM rls;
SELECT ok FROM dbt_pgstream.verify_stream_table('rls');
SET client_min_messages = warning;
DROP SCHEMA v CASCADE;
DROP ROLE v_alice, v_bob;
