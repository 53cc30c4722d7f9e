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
SELECT a.id FROM item a RIGHT JOIN item b ON a.id = b.id
SELECT a.id FROM item a FULL JOIN item b ON a.id = b.id
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
SELECT string_agg(label, ',') FROM item
SELECT (1), ((2)), (SELECT (3))
SELECT 1 WHERE 1 = 1
SELECT id IN (1, 2) FROM item
SELECT (id, label) = (1, 'pen') FROM item
SELECT id FROM item WHERE (id, label) IN (SELECT id, label FROM item)
SELECT id FROM item GROUP BY id HAVING count(*) = 1
SELECT sum(price) / count(*) AS mean FROM item
SELECT max(length(label)) FROM item
SELECT 'a' < 'b', 'a' = 'a'
EXPLAIN SELECT id FROM item
SELECT id FROM item LIMIT ALL
SELECT id FROM item FETCH FIRST 2 ROWS ONLY
SELECT
SELECT id FROM item ORDER BY price FETCH FIRST 1 ROW WITH TIES
TABLE item
EXPLAIN (FORMAT JSON) SELECT id FROM item
EXPLAIN (VERBOSE, COSTS false) SELECT id FROM item
EXPLAIN VERBOSE SELECT id FROM item
SELECT @ -3
SELECT |/ 25, ||/ 27
SELECT 2 ^ 3, 7 # 2
SELECT * FROM json_to_recordset('[{"a": 1, "b": "x"}]') AS t(a INT, b TEXT)
SELECT * FROM jsonb_to_record('{"a": 1}') AS t(a INT)
SELECT timezone('UTC', now())
SELECT now() AT TIME ZONE 'Europe/Berlin'
SELECT at AT TIME ZONE 'UTC' FROM visit
SELECT date_trunc('month', at), extract(year FROM at), date_part('dow', at) FROM visit
SELECT to_char(at, 'YYYY-MM'), to_char(12.5, 'FM999.00') FROM visit
SELECT interval '1 day' + at, at - interval '1 hour', age(at, at) FROM visit
SELECT date '2026-01-31' + 1, '2026-01-31'::date - 30
SELECT make_date(2026, 1, 31), make_interval(days => 3)
SELECT generate_series(1, 3)
SELECT * FROM generate_series(1, 10, 3) AS g
SELECT g.day FROM generate_series('2026-01-01'::timestamp, '2026-01-03', '1 day') AS g(day)
SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS t(a, b)
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS x(a, b)
SELECT unnest(parts) FROM visit
SELECT v.id, p FROM visit v, unnest(v.parts) AS p
SELECT v.id, p.* FROM visit v CROSS JOIN LATERAL unnest(v.parts) WITH ORDINALITY AS p(value, position)
SELECT parts[1], parts[1:2], array_length(parts, 1), cardinality(parts) FROM visit
SELECT 1 = ANY (parts), 1 = ALL (parts) FROM visit
SELECT ARRAY[1, 2] || 3, ARRAY[[1, 2], [3, 4]], ARRAY (SELECT id FROM item)
SELECT parts @> ARRAY[1], parts && ARRAY[9] FROM visit
SELECT array_agg(id ORDER BY id DESC) FROM item
SELECT string_agg(label, ', ' ORDER BY label) FROM item
SELECT array_to_string(ARRAY[1, 2], ','), string_to_array('a,b', ',')
SELECT data -> 'a', data ->> 'a', data #> '{a,0}', data #>> '{a,0}' FROM visit
SELECT data ? 'a', data @> '{"a": [1]}' FROM visit
SELECT jsonb_array_elements(data -> 'a') FROM visit
SELECT e.value FROM visit, jsonb_array_elements(data -> 'a') AS e(value)
SELECT key, value FROM visit, jsonb_each(data)
SELECT jsonb_build_object('id', id, 'label', label) FROM item
SELECT json_agg(i) FROM item i
SELECT row_to_json(i) FROM item i
SELECT jsonb_path_query(data, '$.a[*]') FROM visit
SELECT json_object('a': 1, 'b': 2)
SELECT json_array(1, 2, 3)
SELECT json_value('{"a": 1}', '$.a' RETURNING INT)
SELECT json_query('{"a": [1]}', '$.a')
SELECT json_exists('{"a": 1}', '$.a')
SELECT * FROM json_table('[{"a": 1}]', '$[*]' COLUMNS (a INT PATH '$.a')) AS t
SELECT '{"a": 1}' IS JSON
SELECT json_objectagg(label: id) FROM item
SELECT jsonb_set(data, '{b}', '1') FROM visit
SELECT state, state = 'glad', 'sad'::mood, 'sad'::public.mood FROM visit
SELECT state::text FROM visit
SELECT '5'::int, 5::text, 5.5::numeric(10, 2), 'x'::varchar(3), 'a'::char(2), true::int
SELECT CAST('2026-01-31' AS date), CAST(1 AS double precision), CAST('1' AS bigint)
SELECT int4 '5', date '2026-01-31', timestamp with time zone '2026-01-31 12:00+00'
SELECT '{1,2}'::int[], ARRAY[]::text[]
SELECT date(at), float8(id), text(id) FROM visit
SELECT DISTINCT ON (label) label, price FROM item ORDER BY label, price DESC
SELECT id FROM item WHERE label ILIKE 'P%'
SELECT id FROM item WHERE label ~ '^p' AND label !~* 'X$'
SELECT id FROM item WHERE label SIMILAR TO 'p(e|a)n?'
SELECT id FROM item WHERE label LIKE ANY (ARRAY['p%', 'i%'])
SELECT id FROM item WHERE price IS DISTINCT FROM 6.25
SELECT id FROM item WHERE (price > 5) IS TRUE
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY price), mode() WITHIN GROUP (ORDER BY label) FROM item
SELECT stddev(price), variance(price), corr(price, id), regr_slope(price, id) FROM item
SELECT bool_and(price > 1), every(price > 1), bit_or(id) FROM item
SELECT label, count(*), grouping(label) FROM item GROUP BY ROLLUP (label)
SELECT label, id, sum(price) FROM item GROUP BY CUBE (label, id)
SELECT label, id FROM item GROUP BY GROUPING SETS ((label), (id), ())
SELECT sum(price) OVER (ORDER BY id RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM item
SELECT id FROM item TABLESAMPLE SYSTEM (100)
SELECT id FROM item TABLESAMPLE BERNOULLI (100) REPEATABLE (1)
SELECT id FROM ONLY item
SELECT id FROM public.item
SELECT public.item.id FROM public.item
SELECT amount FROM sales.deal
SELECT "id" FROM "item"
SELECT name COLLATE "C" FROM customer ORDER BY name COLLATE "C"
SELECT greatest(1, 2, 3), least(1, 2)
SELECT split_part('a,b', ',', 2), left('abc', 2), right('abc', 2), lpad('1', 3, '0'), initcap('ada'), reverse('abc')
SELECT regexp_replace('abc', 'b', 'x'), regexp_match('abc', 'b'), regexp_split_to_table('a b', ' ')
SELECT position('b' IN 'abc'), substring('abc' FROM 2 FOR 1), overlay('abc' PLACING 'x' FROM 2), trim(BOTH 'x' FROM 'xax')
SELECT concat('a', 1, NULL), concat_ws('-', 'a', 'b'), format('%s is %s', 'a', 1)
SELECT md5('x'), encode('x'::bytea, 'hex'), sha256('x')
SELECT ceil(1.2), floor(1.8), trunc(1.567, 2), mod(7, 3), div(7, 3), sign(-1), width_bucket(5, 0, 10, 5)
SELECT to_tsvector('english', 'the quick foxes') @@ to_tsquery('english', 'fox')
SELECT ts_rank(to_tsvector('fox'), plainto_tsquery('fox'))
SELECT int4range(1, 5) @> 3, lower(int4range(1, 5)), daterange('2026-01-01', '2026-02-01') && daterange('2026-01-15', '2026-03-01')
SELECT (date '2026-01-01', date '2026-02-01') OVERLAPS (date '2026-01-15', date '2026-03-01')
SELECT inet '10.0.0.1' << inet '10.0.0.0/8', host('10.0.0.1/8')
SELECT ROW(1, 'a'), (1, 'a')
SELECT (i).label FROM item i
SELECT x.total FROM (SELECT sum(total) AS total FROM "Order") x
SELECT x.lower FROM (SELECT 1 AS lower) x
WITH x AS NOT MATERIALIZED (SELECT id FROM item) SELECT * FROM x
WITH RECURSIVE t(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM t WHERE id < 3) SEARCH DEPTH FIRST BY id SET o SELECT * FROM t
WITH RECURSIVE t(id) AS (SELECT 1 UNION ALL SELECT id % 2 + 1 FROM t) CYCLE id SET c USING p SELECT * FROM t
SELECT $$dollar quoted; DROP TABLE x$$, $a$x$a$
SELECT E'a\nb', U&'\0061', B'101', X'1F'
SELECT 1_000, 0xFF, 0b101, 0o17
SELECT pg_typeof(1)
SELECT num_nulls(1, NULL), num_nonnulls(1, NULL)
SELECT uuid '00000000-0000-0000-0000-000000000000', gen_random_uuid() IS NOT NULL
SELECT random() BETWEEN 0 AND 1
SELECT localtime, localtimestamp(0), current_timestamp(3)
SELECT id /* nested /* comment */ */ FROM item
SELECT 1; -- a comment behind
SELECT 1 /* ; */
SELECT json_arrayagg(label), json_arrayagg(label ORDER BY id RETURNING jsonb) FROM item
SELECT json_serialize('{}'), json_scalar(1), json('{}')
SELECT * FROM (VALUES (1, 'a')) AS t (a, b)
SELECT a.id FROM (item a JOIN customer b USING (id)) WHERE b.id > 0
SELECT string_agg(label, ',' ORDER BY price) FILTER (WHERE price > 1) FROM item
SELECT label, repeat('#', round(price)::int) AS bar FROM item ORDER BY price DESC
SELECT lpad(id::text, 6, '0') AS code, rpad(label, 12, '.') || price AS line FROM item
SELECT format('%s costs %s (%5s)', label, price, id) FROM item
SELECT to_char(day, 'YYYY-MM') AS month, sum(total), count(DISTINCT customer_id) FROM "Order" GROUP BY 1 ORDER BY 1
SELECT date_trunc('quarter', day)::date AS quarter, sum(total) FROM "Order" GROUP BY 1
SELECT day, total, sum(total) OVER (ORDER BY day, id ROWS UNBOUNDED PRECEDING) AS running FROM "Order"
SELECT day, avg(total) OVER (ORDER BY day RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW) FROM "Order"
SELECT customer_id, total, total / sum(total) OVER (PARTITION BY customer_id) AS share FROM "Order"
SELECT * FROM (SELECT o.*, row_number() OVER (PARTITION BY customer_id ORDER BY total DESC) AS place FROM "Order" o) x WHERE place = 1
WITH m AS (SELECT date_trunc('month', day) AS month, sum(total) AS revenue FROM "Order" GROUP BY 1) SELECT month, revenue, revenue - lag(revenue) OVER (ORDER BY month) AS change FROM m
WITH m AS (SELECT date_trunc('month', day) AS month, sum(total) AS revenue FROM "Order" GROUP BY 1) SELECT month, round(100.0 * (revenue / nullif(lag(revenue) OVER (ORDER BY month), 0) - 1), 1) AS growth FROM m
WITH days AS (SELECT generate_series(date '2026-01-01', date '2026-03-31', '1 day')::date AS day) SELECT d.day, coalesce(sum(o.total), 0) FROM days d LEFT JOIN "Order" o USING (day) GROUP BY 1 ORDER BY 1
SELECT sum(total) FILTER (WHERE day < '2026-02-01') AS january, sum(total) FILTER (WHERE day >= '2026-02-01') AS later FROM "Order"
SELECT percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY total) FROM "Order"
SELECT width_bucket(total, 0, 100, 4) AS bucket, count(*) FROM "Order" GROUP BY 1 ORDER BY 1
SELECT customer_id, min(day) AS first_day, max(day) - min(day) AS days FROM "Order" GROUP BY customer_id HAVING count(*) > 1
WITH first AS (SELECT customer_id, min(date_trunc('month', day)) AS cohort FROM "Order" GROUP BY 1) SELECT f.cohort, extract(month FROM age(date_trunc('month', o.day), f.cohort)) AS month, count(DISTINCT o.customer_id) FROM first f JOIN "Order" o USING (customer_id) GROUP BY 1, 2
SELECT c.name, string_agg(DISTINCT i.label, ', ' ORDER BY i.label) FROM customer c JOIN "Order" o ON o.customer_id = c.id JOIN item i ON i.id = o.line GROUP BY c.id, c.name
SELECT c.name, array_to_string(array_agg(o.total ORDER BY o.day), ' | ') FROM customer c LEFT JOIN "Order" o ON o.customer_id = c.id GROUP BY c.name
SELECT json_build_object('customer', c.name, 'orders', (SELECT json_agg(json_build_object('day', o.day, 'total', o.total)) FROM "Order" o WHERE o.customer_id = c.id)) FROM customer c
SELECT concat_ws(', ', label, price, NULL, 'x'), concat(label, ' ', price) FROM item
SELECT regexp_replace(label, '[aeiou]', '*', 'g'), regexp_replace(label, '(.)(.*)', '\2\1') FROM item
SELECT array_to_string(string_to_array('a-b-c', '-'), chr(10)), array_replace(ARRAY[1, 2, 3], 2, -5)
SELECT corr(total, line), regr_slope(total, line), stddev_samp(total), var_pop(total) FROM "Order"
SELECT tags::jsonb -> 0 AS first, jsonb_array_length(tags::jsonb) FROM item
SELECT t.tag, count(*) FROM item i CROSS JOIN LATERAL jsonb_array_elements_text(i.tags::jsonb) AS t(tag) GROUP BY 1 ORDER BY 2 DESC, 1
SELECT a.label, b.label FROM item a JOIN item b ON a.price < b.price AND a.id <> b.id ORDER BY b.price - a.price LIMIT 3
SELECT EXTRACT(ISODOW FROM day) AS weekday, count(*) FROM "Order" GROUP BY 1 ORDER BY 1
SELECT day, EXTRACT(EPOCH FROM (day::timestamp - timestamp '2026-01-01')) / 86400 AS days FROM "Order"
SELECT coalesce(c.name, 'total') AS who, sum(o.total) FROM "Order" o JOIN customer c ON c.id = o.customer_id GROUP BY ROLLUP (c.name) ORDER BY grouping(c.name), 2 DESC
SELECT CASE WHEN total >= 50 THEN 'large' WHEN total BETWEEN 5 AND 49.99 THEN 'medium' ELSE 'small' END AS size, count(*), round(avg(total), 2) FROM "Order" GROUP BY 1
SELECT id, label FROM item WHERE price BETWEEN SYMMETRIC 20 AND 5 AND label NOT ILIKE '%z%'
SELECT (SELECT count(*) FROM customer) AS customers, (SELECT count(*) FROM "Order") AS orders, (SELECT sum(total) FROM spending) AS spent
SELECT name, ntile(4) OVER (ORDER BY total) AS quartile FROM spending s JOIN customer c ON c.id = s.customer_id
SELECT i.label, coalesce(n.n, 0) FROM item i LEFT JOIN (SELECT line, count(*) AS n FROM "Order" GROUP BY line) n ON n.line = i.id
SELECT id FROM item EXCEPT ALL (SELECT line FROM "Order" INTERSECT SELECT id FROM customer) ORDER BY 1
WITH RECURSIVE path(id, label, route) AS (SELECT id, label, label FROM item WHERE id = 1 UNION ALL SELECT i.id, i.label, p.route || ' > ' || i.label FROM item i JOIN path p ON i.id = p.id + 1) SELECT repeat('  ', id - 1) || label, route FROM path
SELECT v.metric, v.value FROM "Order" o CROSS JOIN LATERAL (VALUES ('total', o.total), ('line', o.line::numeric)) AS v(metric, value)
SELECT mode() WITHIN GROUP (ORDER BY label), count(*) FILTER (WHERE label ~ '^p') * 100.0 / count(*) AS share FROM item
SELECT to_char(sum(total), 'FM999,999,990.00') || ' EUR' FROM "Order"
SELECT md5(string_agg(label, '' ORDER BY id)), left(string_agg(label, ','), 5) FROM item
