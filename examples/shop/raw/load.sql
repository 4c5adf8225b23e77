-- the application's own tables: what a real project would have already
CREATE SCHEMA raw;
CREATE TABLE raw.customers (id int PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE raw.products (id int PRIMARY KEY, name text NOT NULL, category text NOT NULL, price numeric(10, 2) NOT NULL);
CREATE TABLE raw.orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES raw.customers, ordered_at timestamptz NOT NULL,
                         status text NOT NULL DEFAULT 'placed');
CREATE TABLE raw.order_lines (order_id int NOT NULL REFERENCES raw.orders, line int NOT NULL, product_id int NOT NULL REFERENCES raw.products,
                              quantity int NOT NULL, PRIMARY KEY (order_id, line));

SELECT setseed(0.42);
INSERT INTO raw.customers SELECT i, 'Customer ' || i, (ARRAY['DE', 'FR', 'US', 'BR', 'JP'])[1 + i % 5], '2026-01-01Z'::timestamptz + i * interval '1 hour'
FROM generate_series(1, 500) i;
INSERT INTO raw.products SELECT i, 'Product ' || i, (ARRAY['books', 'garden', 'kitchen', 'toys'])[1 + i % 4], (5 + i * 1.25)::numeric(10, 2)
FROM generate_series(1, 40) i;
INSERT INTO raw.orders SELECT i, 1 + (random() * 499)::int, '2026-03-01Z'::timestamptz + i * interval '20 minutes',
    (ARRAY['placed', 'shipped', 'shipped', 'shipped', 'returned'])[1 + (random() * 4)::int] FROM generate_series(1, 5000) i;
INSERT INTO raw.order_lines SELECT o, l, 1 + (random() * 39)::int, 1 + (random() * 4)::int FROM generate_series(1, 5000) o, generate_series(1, 3) l;
ANALYZE raw.customers, raw.products, raw.orders, raw.order_lines;
