-- changes of the two tables of every kind, each followed
INSERT INTO a VALUES (100, 2, 'h1', 7), (101, NULL, 'h2', 7.0), (102, 3, NULL, NULL);
SELECT oracle.follow(current_schema());
DELETE FROM a WHERE id IN (3, 7, 8); SELECT oracle.follow(current_schema());
UPDATE a SET v = 3.00 WHERE id = 2; UPDATE a SET g = 1 WHERE id = 12; SELECT oracle.follow(current_schema());
UPDATE a SET h = 'h9' WHERE id % 4 = 0; UPDATE b SET g = g + 1; SELECT oracle.follow(current_schema());
INSERT INTO b VALUES (50, 2, 3), (51, NULL, 5), (52, 7, 8); DELETE FROM b WHERE id < 4; UPDATE b SET w = w + 1 WHERE id > 10; SELECT oracle.follow(current_schema());
DELETE FROM a WHERE g = 1; SELECT oracle.follow(current_schema());
BEGIN; INSERT INTO a VALUES (200, 0, 'h0', 1), (201, 9, 'h0', 1000); SELECT oracle.follow(current_schema()); DELETE FROM a WHERE id = 200; UPDATE b SET g = NULL WHERE id = 9; COMMIT; SELECT oracle.follow(current_schema());
UPDATE a SET v = v + 1, g = (g + 1) % 4; UPDATE b SET w = 30 - w; SELECT oracle.follow(current_schema());
DELETE FROM b; SELECT oracle.follow(current_schema());
INSERT INTO b SELECT i, nullif(i % 6, 5), i FROM generate_series(1, 20) i; DELETE FROM a; SELECT oracle.follow(current_schema());
INSERT INTO a SELECT i, nullif(i % 5, 4), 'h' || i % 3, i * 1.5 FROM generate_series(1, 40) i; SELECT oracle.follow(current_schema());
-- every delta can be shown, and planned
SELECT count(*) > 0 AS deltas, count(*) FILTER (WHERE property LIKE 'plan of%') > 0 AS plans FROM dbt_pgstream.pgs_stream_tables s, LATERAL dbt_pgstream.explain_st(pgs_name) WHERE pgs_schema = current_schema();
