INSERT INTO customer VALUES (9, 'x', 'y')
INSERT OR REPLACE INTO item VALUES (1)
REPLACE INTO item VALUES (1)
UPDATE customer SET name = 'x'
UPDATE item SET price = 0 RETURNING *
DELETE FROM customer
DELETE FROM item RETURNING *
DROP TABLE customer
DROP VIEW spending
DROP INDEX x
ALTER TABLE customer ADD COLUMN x
ALTER TABLE customer RENAME TO x
CREATE TABLE x (a)
CREATE TABLE x AS SELECT 1
CREATE TEMP TABLE x (a)
CREATE TEMP VIEW x AS SELECT 1
CREATE VIEW x AS SELECT 1
CREATE INDEX x ON customer (id)
CREATE TRIGGER x AFTER INSERT ON customer BEGIN SELECT 1; END
CREATE VIRTUAL TABLE x USING fts5(a)
CREATE VIRTUAL TABLE temp.x USING rtree(a, b, c)
CREATE VIRTUAL TABLE x USING dbstat
ATTACH ':memory:' AS x
ATTACH '/tmp/x.db' AS x
ATTACH DATABASE 'file:x?mode=rwc' AS x
DETACH main
PRAGMA query_only = OFF
PRAGMA query_only
PRAGMA writable_schema = ON
PRAGMA table_info(customer)
PRAGMA database_list
PRAGMA user_version = 3
PRAGMA journal_mode = WAL
PRAGMA hard_heap_limit = 0
PRAGMA temp_store_directory = '/tmp'
PRAGMA trusted_schema = ON
PRAGMA main.integrity_check
BEGIN
BEGIN EXCLUSIVE
COMMIT
END
ROLLBACK
SAVEPOINT x
RELEASE x
VACUUM
VACUUM INTO '/tmp/x.db'
ANALYZE
REINDEX
EXPLAIN DELETE FROM customer
EXPLAIN QUERY PLAN DROP TABLE customer
EXPLAIN PRAGMA user_version
EXPLAIN SELECT * FROM hidden
EXPLAIN QUERY PLAN SELECT * FROM hidden
EXPLAIN EXPLAIN SELECT 1
EXPLAIN ATTACH 'x' AS y
SELECT 1; SELECT 2
SELECT 1; DROP TABLE customer
;
-- only a comment
/* only a comment */
SELECT * FROM hidden
SELECT secret FROM hidden
SELECT count(*) FROM hidden
SELECT 1 FROM hidden
SELECT * FROM main.hidden
SELECT * FROM "hidden"
SELECT * FROM [hidden]
SELECT * FROM `hidden`
SELECT * FROM 'hidden'
SELECT * FROM HIDDEN
SELECT rowid FROM hidden
SELECT (SELECT secret FROM hidden)
SELECT EXISTS (SELECT 1 FROM hidden)
SELECT id FROM customer WHERE EXISTS (SELECT 1 FROM hidden)
SELECT id FROM customer WHERE id IN hidden
SELECT id FROM customer WHERE id IN (SELECT secret FROM hidden)
SELECT id FROM customer WHERE id IN main.hidden
SELECT id FROM customer UNION SELECT secret FROM hidden
SELECT id FROM customer JOIN hidden
SELECT id FROM customer, hidden
SELECT id FROM customer LEFT JOIN hidden ON 1
SELECT id FROM customer NATURAL JOIN hidden
WITH x AS (SELECT * FROM hidden) SELECT * FROM x
WITH hidden AS (SELECT * FROM hidden) SELECT * FROM hidden
WITH RECURSIVE x(a) AS (SELECT secret FROM hidden UNION ALL SELECT a FROM x) SELECT * FROM x LIMIT 1
SELECT * FROM hidden, (WITH hidden AS (SELECT 1) SELECT * FROM hidden) x
SELECT id FROM customer ORDER BY (SELECT secret FROM hidden)
SELECT id FROM customer LIMIT (SELECT count(*) FROM hidden)
SELECT id FROM customer LIMIT 1 OFFSET (SELECT count(*) FROM hidden)
SELECT id FROM customer GROUP BY (SELECT secret FROM hidden)
SELECT id FROM customer GROUP BY id HAVING (SELECT count(*) FROM hidden)
SELECT sum(id) OVER (ORDER BY (SELECT secret FROM hidden)) FROM customer
SELECT sum(id) FILTER (WHERE (SELECT 1 FROM hidden)) FROM customer
SELECT CASE WHEN (SELECT 1 FROM hidden) THEN 1 END
SELECT coalesce((SELECT secret FROM hidden), 1)
SELECT json_object('a', (SELECT secret FROM hidden))
SELECT value FROM json_each((SELECT json_group_array(secret) FROM hidden))
VALUES ((SELECT secret FROM hidden))
SELECT * FROM (VALUES ((SELECT secret FROM hidden)))
SELECT * FROM customer
SELECT customer.* FROM customer
SELECT salary FROM customer
SELECT "salary" FROM customer WHERE salary > 1
SELECT id FROM customer WHERE salary > 7001
SELECT id FROM customer ORDER BY salary
SELECT count(*) FROM customer GROUP BY salary
SELECT max(salary) FROM customer
SELECT (SELECT max(salary) FROM customer)
SELECT c.salary FROM customer c
SELECT x.salary FROM (SELECT * FROM customer) x
SELECT id FROM customer a JOIN customer b USING (salary)
SELECT (SELECT salary FROM customer) FROM (SELECT 1 AS salary) x
WITH spending AS (SELECT * FROM customer) SELECT * FROM spending
WITH spending AS (SELECT (SELECT salary FROM customer) FROM (SELECT 1 AS salary) x) SELECT * FROM spending
WITH payroll AS (SELECT * FROM customer) SELECT * FROM payroll
WITH payroll AS (SELECT (SELECT salary FROM customer) AS x FROM (SELECT 1 AS salary) y) SELECT * FROM payroll
WITH Payroll AS (SELECT salary FROM customer) SELECT * FROM Payroll
SELECT * FROM (SELECT * FROM customer) AS payroll
SELECT * FROM (SELECT salary FROM customer) payroll
SELECT * FROM payroll
SELECT total FROM payroll
SELECT count(*) FROM payroll
SELECT * FROM sqlite_master
SELECT * FROM sqlite_schema
SELECT * FROM main.sqlite_master
SELECT * FROM temp.sqlite_master
SELECT * FROM sqlite_temp_master
SELECT * FROM sqlite_temp_schema
SELECT count(*) FROM sqlite_master
SELECT 1 FROM sqlite_schema
SELECT name FROM "sqlite_master"
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'hidden')
SELECT * FROM sqlite_sequence
SELECT * FROM sqlite_stat1
SELECT * FROM pragma_table_info('customer')
SELECT * FROM pragma_table_list
SELECT count(*) FROM pragma_table_list
SELECT * FROM pragma_table_xinfo('hidden')
SELECT * FROM pragma_database_list
SELECT * FROM pragma_function_list
SELECT * FROM pragma_module_list
SELECT * FROM pragma_compile_options
SELECT * FROM pragma_index_list('customer')
SELECT * FROM pragma_foreign_key_list('customer')
SELECT * FROM pragma_query_only
SELECT * FROM pragma_user_version
SELECT id FROM customer JOIN pragma_table_list
SELECT * FROM dbstat
SELECT count(*) FROM dbstat
SELECT name FROM dbstat WHERE aggregate = 1
SELECT * FROM sqlite_stmt
SELECT * FROM bytecode('SELECT 1')
SELECT * FROM tables_used('SELECT 1')
SELECT * FROM sqlite_dbpage
SELECT * FROM fsdir('/')
SELECT * FROM generate_series(1, 3)
SELECT * FROM temp.item
SELECT * FROM other.item
SELECT * FROM nowhere
SELECT load_extension('x.so')
SELECT "load_extension"('x')
SELECT LOAD_EXTENSION('x', 'y')
SELECT readfile('/etc/passwd')
SELECT writefile('/tmp/x', 'y')
SELECT edit('x')
SELECT fts3_tokenizer('simple')
SELECT fts3_tokenizer('simple', x'00')
SELECT sqlite_version()
SELECT sqlite_source_id()
SELECT sqlite_compileoption_used('THREADSAFE')
SELECT sqlite_compileoption_get(0)
SELECT sqlite_offset(id) FROM customer
SELECT last_insert_rowid()
SELECT changes()
SELECT total_changes()
SELECT sqlite_log(1, 'x')
SELECT sqlite_rename_column('x')
SELECT rtreenode(2, x'00')
SELECT rtreecheck('x')
SELECT id FROM customer WHERE load_extension('x')
SELECT id FROM customer ORDER BY load_extension('x')
SELECT id FROM customer GROUP BY load_extension('x')
SELECT max(load_extension('x')) FROM customer
SELECT sum(id) OVER (ORDER BY load_extension('x')) FROM customer
WITH x AS (SELECT load_extension('x')) SELECT * FROM x
SELECT id FROM customer LIMIT load_extension('x')
SELECT nothing('x')
SELECT 'a' REGEXP 'b'
SELECT $1
SELECT ?
SELECT :name
SELECT @name
SELECT id FROM customer WHERE id = ?2
WITH x AS (DELETE FROM customer RETURNING *) SELECT * FROM x
WITH x AS (SELECT 1) INSERT INTO customer SELECT * FROM x
WITH x AS (SELECT 1) DELETE FROM customer
WITH x AS (SELECT 1) UPDATE customer SET id = 1
SELECT * INTO x FROM customer
SELECT id FROM customer FOR UPDATE
TABLE item
CALL p()
SET x = 1
SHOW TABLES
DESCRIBE customer
USE main
SELECT
SELECT FROM WHERE
SELECT (1
SELECT 1)
SELECT 'unclosed
SELECT "unclosed
/* unclosed
SELECT * FROM
SELEC 1
hello
GRANT ALL ON customer TO x
.tables
.shell id
SELECT m.sql FROM sqlite_master AS m
SELECT m.name FROM main.sqlite_schema m, item
SELECT (SELECT group_concat(sql) FROM sqlite_master m)
WITH m AS (SELECT * FROM sqlite_master) SELECT * FROM m
WITH sqlite_master AS (SELECT * FROM sqlite_schema) SELECT * FROM sqlite_master
SELECT id FROM item WHERE label IN (SELECT name FROM sqlite_master)
SELECT id FROM item JOIN sqlite_master ON 1
SELECT id FROM item UNION SELECT rootpage FROM sqlite_master
SELECT rowid FROM sqlite_master
SELECT name FROM [sqlite_master]
SELECT name FROM `sqlite_schema`
SELECT tbl_name FROM 'sqlite_master'
SELECT name FROM SQLITE_MASTER
SELECT name FROM "main"."sqlite_master"
SELECT * FROM pragma_table_info((SELECT name FROM sqlite_master))
SELECT t.name FROM item i, pragma_table_info(i.label) t
SELECT * FROM pragma_collation_list
SELECT * FROM pragma_pragma_list
SELECT * FROM pragma_index_info('x')
SELECT * FROM pragma_index_xinfo('x')
SELECT * FROM pragma_journal_mode
SELECT * FROM pragma_wal_checkpoint
SELECT * FROM pragma_integrity_check
SELECT * FROM pragma_quick_check
SELECT * FROM pragma_data_version
SELECT * FROM pragma_table_info('customer', 'main')
SELECT "name" FROM PRAGMA_TABLE_INFO('hidden')
SELECT * FROM pragma_optimize
SELECT * FROM pragma_hard_heap_limit
EXPLAIN SELECT * FROM pragma_table_list
SELECT load_extension('/lib/x.so', 'sqlite3_x_init')
SELECT coalesce(load_extension('x'), 1)
SELECT /* load */ load_extension /* extension */ ('x')
SELECT [load_extension]('x')
SELECT id FROM item WHERE CASE WHEN id THEN load_extension('x') END
SELECT hex(readfile('/etc/passwd'))
SELECT value FROM json_each(readfile('/etc/passwd'))
SELECT * FROM readfile('/etc/passwd')
SELECT lsdir('/')
SELECT * FROM zipfile('/tmp/x.zip')
SELECT * FROM csv('/etc/passwd')
SELECT * FROM lines_read('/etc/passwd')
SELECT zeroblob(2000000000)
SELECT length(zeroblob(2000000000))
SELECT length(randomblob(2000000000))
SELECT hex(randomblob(1000000))
SELECT zeroblob(-1) || zeroblob(5000000)
SELECT replace(printf('%.*c', 900000, 'x'), 'x', 'yyyy')
SELECT group_concat(printf('%.*c', 900000, 'x')) FROM item
SELECT json_group_array(printf('%.*c', 900000, 'x')) FROM item
WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t
WITH RECURSIVE t(a) AS (SELECT secret FROM hidden UNION SELECT a || 'x' FROM t) SELECT a FROM t LIMIT 2
WITH RECURSIVE hidden(secret) AS (SELECT 1 UNION ALL SELECT secret FROM main.hidden) SELECT * FROM hidden
SELECT count(*) FROM item a, item b, item c, item d, item e, item f, item g, item h, item i, item j, item k, item l, item m, item n, item o, item p, item q, item r
SELECT 1 LIKE printf('%.*c', 60000, '%')
SELECT 'a' GLOB printf('%.*c', 5000, '*')
SELECT 'a' LIKE 'b' ESCAPE 'ab'
CREATE VIRTUAL TABLE temp.f USING fts5(a, content='hidden')
SELECT * FROM fts5('x')
SELECT fts5(x'00')
SELECT highlight(item, 0, 'a', 'b') FROM item
SELECT bm25(item) FROM item
SELECT snippet(item) FROM item
SELECT id FROM item WHERE item MATCH 'pen'
SELECT id FROM item WHERE label MATCH 'pen'
SELECT * FROM fts3tokenize('simple', 'a b')
SELECT optimize(item) FROM item
SELECT matchinfo(item) FROM item
SELECT rtreedepth(x'00')
SELECT geopoly_area('x')
SELECT sqlite_crypt('x', 'y')
SELECT eval('SELECT secret FROM hidden')
SELECT sha3_query('SELECT secret FROM hidden')
SELECT decimal_sum(salary) FROM customer
SELECT c.* FROM customer c JOIN item i USING (id)
SELECT customer.salary + 0 FROM customer
SELECT sum(salary) FILTER (WHERE id = 1) FROM customer
SELECT json_group_object(id, salary) FROM customer
SELECT id FROM customer WHERE (salary, 1) > (7001, 0)
SELECT (SELECT salary FROM customer c WHERE c.id = i.id) FROM item i
SELECT id FROM customer ORDER BY salary COLLATE NOCASE
SELECT id FROM customer INDEXED BY hidden_index
SELECT id, sum(id) OVER (PARTITION BY salary) FROM customer
SELECT 'x' FROM customer GROUP BY id HAVING max(salary) > 1
SELECT * FROM customer NATURAL JOIN item
SELECT secret AS id FROM (SELECT * FROM hidden)
SELECT h.oid FROM hidden AS h
SELECT hidden.rowid, item.id FROM item, hidden
/**/SELECT secret FROM/**/hidden
SELECT secret FROM hidden;--
SELECT x'41' FROM hidden
