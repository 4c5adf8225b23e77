-- two tables, and a place for queries over them
CREATE TABLE a (id int PRIMARY KEY, g int, h text, v numeric);
CREATE TABLE b (id int PRIMARY KEY, g int, w int);
INSERT INTO a SELECT i, nullif(i % 5, 4), 'h' || i % 3, i * 1.5 FROM generate_series(1, 40) i;
INSERT INTO b SELECT i, nullif(i % 6, 5), i FROM generate_series(1, 20) i;
CREATE TABLE queries (i serial, name text, q text);
