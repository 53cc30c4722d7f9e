SELECT 1
SELECT 1;
SELECT 1 AS one, 'x' AS "two words"
VALUES (1, 'a'), (2, 'b')
SELECT id FROM customer
select ID from CUSTOMER
SELECT c.id FROM customer AS c
SELECT customer.name FROM customer
SELECT DISTINCT note FROM customer
SELECT * FROM item
SELECT item.* FROM item
SELECT i.*, 1 FROM item i
SELECT count(*) FROM item
SELECT count(DISTINCT label) FROM item
SELECT "Order".id FROM "Order"
SELECT o.id, o.line FROM "Order" o WHERE o.total > 5
SELECT id FROM item WHERE price BETWEEN 1 AND 10
SELECT id FROM item WHERE label IN ('pen', 'ink')
SELECT id FROM item WHERE label NOT IN ('pen')
SELECT id FROM item WHERE label LIKE 'p%'
SELECT id FROM item WHERE label LIKE 'p!%' ESCAPE '!'
SELECT id FROM item WHERE label IS NULL OR label IS NOT NULL
SELECT id FROM item WHERE NOT (id = 1 AND label = 'pen')
SELECT id FROM item ORDER BY price DESC, id
SELECT id FROM item ORDER BY price DESC NULLS LAST
SELECT id FROM item ORDER BY 1 LIMIT 2 OFFSET 1
SELECT id FROM item LIMIT 2 - (SELECT 1) % 2
SELECT label, sum(price) AS total FROM item GROUP BY label HAVING sum(price) > 1 ORDER BY total
SELECT label, avg(price), min(price), max(price) FROM item GROUP BY 1
SELECT c.name, o.total FROM customer c JOIN "Order" o ON o.customer_id = c.id
SELECT c.name, o.total FROM customer c LEFT JOIN "Order" o ON o.customer_id = c.id
SELECT c.name, o.total FROM customer c, "Order" o WHERE o.customer_id = c.id
SELECT a.id FROM item a CROSS JOIN item b
SELECT id FROM item a JOIN item b USING (id)
SELECT a.id FROM item a NATURAL JOIN item b
SELECT id FROM customer UNION SELECT id FROM item
SELECT id FROM customer UNION ALL SELECT id FROM item ORDER BY 1
SELECT id FROM customer EXCEPT SELECT id FROM item
SELECT id FROM customer INTERSECT SELECT id FROM item
SELECT * FROM (SELECT id FROM customer) AS x
SELECT x.id FROM (SELECT id FROM customer) AS x WHERE x.id IN (SELECT id FROM item)
SELECT id FROM customer c WHERE EXISTS (SELECT 1 FROM "Order" o WHERE o.customer_id = c.id)
SELECT (SELECT max(price) FROM item) AS most
SELECT name, (SELECT sum(total) FROM "Order" o WHERE o.customer_id = c.id) FROM customer c
WITH x AS (SELECT id FROM item) SELECT * FROM x
WITH x AS (SELECT id FROM item), y AS (SELECT * FROM x) SELECT count(*) FROM y JOIN x USING (id)
WITH x (a, b) AS (SELECT id, label FROM item) SELECT a, b FROM x
WITH item AS (SELECT 1 AS id) SELECT id FROM item
WITH x AS MATERIALIZED (SELECT id FROM item) SELECT * FROM x
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n
WITH RECURSIVE n(i) AS (VALUES (1) UNION SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i) FROM n
SELECT * FROM (WITH x AS (SELECT 1 AS a) SELECT a FROM x) AS y
SELECT CASE WHEN price > 10 THEN 'much' WHEN price > 5 THEN 'some' ELSE 'little' END FROM item
SELECT CASE id WHEN 1 THEN 'one' END FROM item
SELECT coalesce(note, 'none') FROM customer
SELECT nullif(id, 1) FROM customer
SELECT CAST(price AS INTEGER) FROM item
SELECT CAST(id AS TEXT) FROM item
SELECT abs(-3), round(2.5), lower('A'), upper('a'), length('abc')
SELECT trim('  x  '), ltrim('  x'), rtrim('x  '), replace('abc', 'b', 'x')
SELECT substr('abcdef', 2, 3)
SELECT 'a' || 'b' || label FROM item
SELECT 1 + 2 * 3 - 4 / 2, 7 % 3
SELECT -id, +id FROM item
SELECT 5 & 3, 5 | 3, 1 << 3, 8 >> 1, ~5
SELECT id = 1, id <> 1, id != 1, id < 2, id <= 2, id > 2, id >= 2 FROM item
SELECT sqrt(2), power(2, 3), exp(1), ln(2), pi()
SELECT row_number() OVER (ORDER BY id) FROM item
SELECT rank() OVER (PARTITION BY label ORDER BY price DESC), dense_rank() OVER (ORDER BY label) FROM item
SELECT lag(price) OVER (ORDER BY id), lead(price, 1) OVER (ORDER BY id) FROM item
SELECT sum(price) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM item
SELECT sum(price) OVER w FROM item WINDOW w AS (ORDER BY id)
SELECT first_value(id) OVER (ORDER BY price), nth_value(id, 2) OVER (ORDER BY price) FROM item
SELECT ntile(2) OVER (ORDER BY id), percent_rank() OVER (ORDER BY id), cume_dist() OVER (ORDER BY id) FROM item
SELECT count(*) FILTER (WHERE price > 10) FROM item
SELECT CURRENT_DATE, CURRENT_TIMESTAMP, CURRENT_TIME
SELECT day FROM "Order" WHERE day >= '2026-01-01' AND day < '2026-03-01'
SELECT customer_id, total FROM spending ORDER BY total DESC
SELECT c.name, s.total FROM customer c JOIN spending s ON s.customer_id = c.id
SELECT 'delete from customer; drop table x' AS text
SELECT 'it''s', "label" FROM item
SELECT id FROM item -- a comment
SELECT /* a comment */ id FROM item /* at the end */
SELECT NULL, TRUE, FALSE, 1e3, 0.5
SELECT id AS "select", label AS "from" FROM item
SELECT (1), ((2)), (SELECT (3))
SELECT 1 WHERE 1 = 1
SELECT id IN (1, 2) FROM item
SELECT id FROM item WHERE (id, label) IN (SELECT id, label FROM item)
SELECT id FROM item GROUP BY id HAVING count(*) = 1
SELECT sum(price) / count(*) AS mean FROM item
SELECT max(length(label)) FROM item
SELECT 'a' < 'b', 'a' = 'a'
EXPLAIN SELECT id FROM item
SELECT rowid, id FROM item
SELECT id FROM item WHERE label GLOB 'p*'
SELECT id FROM item LIMIT 1, 2
SELECT [id], `label` FROM item
SELECT main.item.id FROM main.item
SELECT strftime('%Y-%m', day), count(*) FROM "Order" GROUP BY 1
SELECT date('2026-01-31', '+1 month'), datetime('now'), time('12:00'), julianday('2026-01-31')
SELECT unixepoch('2026-01-31'), date(day, 'start of month') FROM "Order"
SELECT group_concat(label), group_concat(label, '; ') FROM item
SELECT total(price) FROM item
SELECT json_extract(tags, '$[0]') FROM item
SELECT tags -> '$[0]', tags ->> '$[0]' FROM item
SELECT value FROM item, json_each(tags)
SELECT i.id, t.value FROM item i JOIN json_each(i.tags) t
SELECT key, value FROM json_tree('{"a": [1, 2]}')
SELECT json_group_array(label), json_group_object(label, id) FROM item
SELECT json_object('id', id), json_array(1, 2) FROM item
SELECT json_valid('{}'), json_type('[]'), json_array_length('[1]'), json_quote('x')
SELECT printf('%05.2f', price), format('%d', id) FROM item
SELECT instr(label, 'e'), hex(label), quote(label), typeof(price), unicode('a'), char(97) FROM item
SELECT iif(id = 1, 'one', 'other'), ifnull(label, 'x') FROM item
SELECT max(1, 2, 3), min(1, 2)
SELECT id FROM item WHERE label IS 'pen'
SELECT id FROM item WHERE label = 'PEN' COLLATE NOCASE
SELECT id FROM item ORDER BY label COLLATE NOCASE DESC
SELECT id FROM item NOT INDEXED
SELECT label FROM item GROUP BY label COLLATE NOCASE
SELECT x'00ff', 0x1F
SELECT 1 == 1, 'a' IS NOT 'b', NOT NULL
SELECT label, price, max(price) FROM item
SELECT random() IS NOT NULL
SELECT likely(1), unlikely(0), likelihood(1, 0.5)
SELECT soundex('Robert')
SELECT sum(price) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM item
SELECT * FROM (VALUES (1, 2), (3, 4))
SELECT column1 FROM (VALUES (1), (2))
EXPLAIN QUERY PLAN SELECT id FROM item JOIN customer USING (id)
explain select 1
SELECT sin(1), cos(1), tan(1), log(10), log2(8), degrees(1), radians(1), ceil(1.2), floor(1.8), trunc(1.5), mod(7, 3), sign(-1)
SELECT substring('abc', 2), nullif(1, 1), zeroblob(4), randomblob(4) IS NOT NULL
SELECT count(*) FROM (SELECT 1 UNION ALL SELECT 2)
SELECT CAST('1' AS REAL), CAST(1.5 AS INT), CAST('x' AS BLOB)
SELECT DISTINCT label FROM item ORDER BY label LIMIT 1
SELECT id FROM item WHERE price > (SELECT avg(price) FROM item)
SELECT i.label, (SELECT count(*) FROM "Order" o WHERE o.line = i.id) AS n FROM item i ORDER BY n DESC
WITH RECURSIVE d(day) AS (SELECT '2026-01-01' UNION ALL SELECT date(day, '+1 day') FROM d WHERE day < '2026-01-05') SELECT day FROM d
WITH a AS NOT MATERIALIZED (SELECT 1 AS x) SELECT x FROM a
SELECT 1; -- a comment behind
SELECT 1 /* ; */
SELECT c.name, count(o.id), sum(o.total), avg(o.total) FROM customer c LEFT JOIN "Order" o ON o.customer_id = c.id GROUP BY c.id
SELECT name FROM customer WHERE id IN (SELECT customer_id FROM "Order" GROUP BY customer_id HAVING sum(total) > 10)
SELECT strftime('%w', day) AS weekday, round(avg(total), 2) FROM "Order" GROUP BY weekday ORDER BY weekday
SELECT day, sum(total) OVER (ORDER BY day) AS running FROM "Order"
SELECT id, price, price - avg(price) OVER () AS above FROM item
SELECT label, count(*) AS n FROM item GROUP BY label HAVING n >= 1
SELECT CASE WHEN total > 10 THEN 'high' ELSE 'low' END AS band, count(*) FROM "Order" GROUP BY band
SELECT trim(label) || ' ' || upper(substr(label, 1, 1)) FROM item
SELECT * FROM item WHERE id IN (1, 2, 3) AND price IS NOT NULL ORDER BY price LIMIT 1
SELECT label, printf('%.*c', price, '#') AS bar FROM item ORDER BY price DESC
SELECT printf('%06d', id) AS code, printf('%-12s', label) || price AS line FROM item
SELECT format('%s costs %.2f', label, price) FROM item
SELECT strftime('%Y-%m', day) AS month, sum(total), count(DISTINCT customer_id) FROM "Order" GROUP BY 1 ORDER BY 1
SELECT strftime('%Y', day) || '-Q' || ((CAST(strftime('%m', day) AS INTEGER) + 2) / 3) AS quarter, sum(total) FROM "Order" GROUP BY 1
SELECT day, total, sum(total) OVER (ORDER BY day, id ROWS UNBOUNDED PRECEDING) AS running FROM "Order"
SELECT day, avg(total) OVER (ORDER BY julianday(day) RANGE BETWEEN 30 PRECEDING AND CURRENT ROW) FROM "Order"
SELECT customer_id, total, total / sum(total) OVER (PARTITION BY customer_id) AS share FROM "Order"
SELECT * FROM (SELECT o.*, row_number() OVER (PARTITION BY customer_id ORDER BY total DESC) AS place FROM "Order" o) WHERE place = 1
WITH m AS (SELECT strftime('%Y-%m', day) AS month, sum(total) AS revenue FROM "Order" GROUP BY 1) SELECT month, revenue, revenue - lag(revenue) OVER (ORDER BY month) AS change FROM m
WITH m AS (SELECT strftime('%Y-%m', day) AS month, sum(total) AS revenue FROM "Order" GROUP BY 1) SELECT month, round(100.0 * (revenue / nullif(lag(revenue) OVER (ORDER BY month), 0) - 1), 1) AS growth FROM m
WITH RECURSIVE days(day) AS (SELECT '2026-01-01' UNION ALL SELECT date(day, '+1 day') FROM days WHERE day < '2026-03-31') SELECT d.day, coalesce(sum(o.total), 0) FROM days d LEFT JOIN "Order" o USING (day) GROUP BY 1 ORDER BY 1
SELECT sum(total) FILTER (WHERE day < '2026-02-01') AS january, total(total) FILTER (WHERE day >= '2026-02-01') AS later FROM "Order"
SELECT total FROM "Order" ORDER BY total LIMIT 1 OFFSET (SELECT count(*) / 2 FROM "Order")
SELECT CAST(total / 25 AS INTEGER) AS bucket, count(*) FROM "Order" GROUP BY 1 ORDER BY 1
SELECT customer_id, min(day) AS first_day, julianday(max(day)) - julianday(min(day)) AS days FROM "Order" GROUP BY customer_id HAVING count(*) > 1
WITH first AS (SELECT customer_id, min(strftime('%Y-%m', day)) AS cohort FROM "Order" GROUP BY 1) SELECT f.cohort, strftime('%Y-%m', o.day) AS month, count(DISTINCT o.customer_id) FROM first f JOIN "Order" o USING (customer_id) GROUP BY 1, 2
SELECT c.name, group_concat(DISTINCT i.label) FROM customer c JOIN "Order" o ON o.customer_id = c.id JOIN item i ON i.id = o.line GROUP BY c.id, c.name
SELECT c.name, group_concat(o.total, ' | ') FROM customer c LEFT JOIN "Order" o ON o.customer_id = c.id GROUP BY c.name
SELECT json_object('customer', c.name, 'orders', (SELECT json_group_array(json_object('day', o.day, 'total', o.total)) FROM "Order" o WHERE o.customer_id = c.id)) FROM customer c
SELECT label || ', ' || price || coalesce(NULL, '') FROM item
SELECT replace(replace(label, 'e', '*'), 'i', '*'), upper(substr(label, 1, 1)) || substr(label, 2) FROM item
SELECT avg(total * total) - avg(total) * avg(total) AS variance, sqrt(avg(total * total) - avg(total) * avg(total)) FROM "Order"
SELECT json_extract(tags, '$[0]') AS first, json_array_length(tags) FROM item
SELECT t.value AS tag, count(*) FROM item i, json_each(i.tags) t GROUP BY 1 ORDER BY 2 DESC, 1
SELECT a.label, b.label FROM item a JOIN item b ON a.price < b.price AND a.id <> b.id ORDER BY b.price - a.price LIMIT 3
SELECT CASE strftime('%w', day) WHEN '0' THEN 'Sunday' WHEN '6' THEN 'Saturday' ELSE 'weekday' END AS kind, count(*) FROM "Order" GROUP BY 1
SELECT day, julianday(day) - julianday('2026-01-01') AS days, unixepoch(day) / 86400 FROM "Order"
SELECT coalesce(name, 'total') AS who, total FROM (SELECT c.name, sum(o.total) AS total FROM "Order" o JOIN customer c ON c.id = o.customer_id GROUP BY c.name UNION ALL SELECT NULL, sum(total) FROM "Order")
SELECT CASE WHEN total >= 50 THEN 'large' WHEN total BETWEEN 5 AND 49.99 THEN 'medium' ELSE 'small' END AS size, count(*), round(avg(total), 2) FROM "Order" GROUP BY 1
SELECT id, label FROM item WHERE price BETWEEN 5 AND 20 AND label NOT LIKE '%z%' AND label GLOB '[a-p]*'
SELECT (SELECT count(*) FROM customer) AS customers, (SELECT count(*) FROM "Order") AS orders, (SELECT sum(total) FROM spending) AS spent
SELECT name, ntile(4) OVER (ORDER BY total) AS quartile FROM spending s JOIN customer c ON c.id = s.customer_id
SELECT i.label, coalesce(n.n, 0) FROM item i LEFT JOIN (SELECT line, count(*) AS n FROM "Order" GROUP BY line) n ON n.line = i.id
SELECT id FROM item EXCEPT SELECT line FROM "Order" UNION SELECT id FROM customer ORDER BY 1
WITH RECURSIVE path(id, label, route) AS (SELECT id, label, label FROM item WHERE id = 1 UNION ALL SELECT i.id, i.label, p.route || ' > ' || i.label FROM item i JOIN path p ON i.id = p.id + 1) SELECT substr('          ', 1, 2 * (id - 1)) || label, route FROM path
SELECT 'total' AS metric, total AS value FROM "Order" UNION ALL SELECT 'line', line FROM "Order"
SELECT label, count(*) * 100.0 / sum(count(*)) OVER () AS share FROM item GROUP BY label
SELECT printf('%,d EUR', CAST(sum(total) AS INTEGER)) FROM "Order"
SELECT substr(group_concat(label, ','), 1, 5), hex(label), instr(label, 'e') FROM item
SELECT o.day, o.total, (SELECT count(*) FROM "Order" p WHERE p.total <= o.total) AS place FROM "Order" o
