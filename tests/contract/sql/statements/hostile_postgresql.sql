INSERT INTO customer VALUES (9, 'x', 'y')
UPDATE customer SET name = 'x'
DELETE FROM customer
TRUNCATE customer
DROP TABLE customer
ALTER TABLE customer ADD COLUMN x INT
CREATE TABLE x (a INT)
CREATE TABLE x AS SELECT 1
CREATE TEMP TABLE x (a INT)
CREATE VIEW x AS SELECT 1
CREATE MATERIALIZED VIEW x AS SELECT 1
CREATE FUNCTION f() RETURNS INT LANGUAGE SQL AS 'SELECT 1'
CREATE ROLE x
CREATE EXTENSION dblink
CREATE SEQUENCE x
CREATE SCHEMA x
CREATE INDEX x ON customer (id)
GRANT SELECT ON hidden TO PUBLIC
REVOKE SELECT ON customer FROM PUBLIC
COMMENT ON TABLE customer IS 'x'
MERGE INTO item USING customer ON item.id = customer.id WHEN MATCHED THEN DELETE
COPY customer TO STDOUT
COPY customer TO '/tmp/x'
COPY customer FROM '/etc/passwd'
COPY (SELECT * FROM customer) TO STDOUT
COPY customer TO PROGRAM 'id'
SET statement_timeout = 0
SET ROLE postgres
SET SESSION AUTHORIZATION postgres
RESET ALL
SHOW ALL
SHOW data_directory
BEGIN
COMMIT
ROLLBACK
SAVEPOINT x
START TRANSACTION READ WRITE
SET TRANSACTION READ WRITE
PREPARE TRANSACTION 'x'
PREPARE x AS SELECT 1
EXECUTE x
DEALLOCATE ALL
DECLARE c CURSOR FOR SELECT 1
FETCH ALL FROM c
LISTEN x
NOTIFY x
UNLISTEN *
LOAD 'x'
LOCK customer
VACUUM
ANALYZE
CLUSTER
REINDEX TABLE customer
CHECKPOINT
DISCARD ALL
DO $$ BEGIN PERFORM 1; END $$
CALL p()
EXPLAIN ANALYZE SELECT * FROM customer
EXPLAIN (ANALYZE) SELECT 1
EXPLAIN (ANALYZE false, BUFFERS) SELECT 1
EXPLAIN DELETE FROM customer
EXPLAIN (ANALYZE, VERBOSE) DELETE FROM customer
EXPLAIN SELECT * FROM hidden
EXPLAIN EXECUTE x
EXPLAIN CREATE TABLE x AS SELECT 1
SELECT * INTO x FROM customer
SELECT id INTO TEMP x FROM customer
SELECT id FROM customer FOR UPDATE
SELECT id FROM customer FOR SHARE
SELECT * FROM (SELECT id FROM customer FOR UPDATE) x
SELECT id FROM customer FOR KEY SHARE SKIP LOCKED
WITH x AS (DELETE FROM customer RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO customer VALUES (1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE customer SET id = 1 RETURNING id) SELECT 1
WITH x AS (SELECT 1) DELETE FROM customer
SELECT * FROM (WITH x AS (DELETE FROM customer RETURNING *) SELECT * FROM x) y
SELECT 1; SELECT 2
SELECT 1; DROP TABLE customer
SELECT 1;; COMMIT
SELECT 1) q; DELETE FROM customer; SELECT (1
SELECT 1) AS q UNION SELECT (2
SELECT * FROM hidden
SELECT * FROM public.hidden
SELECT * FROM "hidden"
SELECT * FROM postgres.public.hidden
TABLE hidden
SELECT (SELECT secret FROM hidden)
SELECT id FROM customer WHERE EXISTS (SELECT 1 FROM hidden)
SELECT id FROM customer UNION SELECT secret FROM hidden
SELECT id FROM customer JOIN hidden ON true
SELECT id FROM customer, LATERAL (SELECT * FROM hidden) x
WITH x AS (SELECT * FROM hidden) SELECT * FROM x
WITH hidden AS (SELECT * FROM hidden) SELECT * FROM hidden
WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
SELECT * FROM hidden, (WITH hidden AS (SELECT 1) SELECT * FROM hidden) x
SELECT id FROM customer ORDER BY (SELECT secret FROM hidden)
SELECT id FROM customer LIMIT (SELECT count(*) FROM hidden)
SELECT id FROM customer GROUP BY (SELECT secret FROM hidden), id
SELECT sum(id) OVER (ORDER BY (SELECT secret FROM hidden)) FROM customer
SELECT count(*) FILTER (WHERE (SELECT true FROM hidden)) FROM customer
SELECT CASE WHEN (SELECT true FROM hidden) THEN 1 END
SELECT ARRAY (SELECT secret FROM hidden)
SELECT ARRAY[(SELECT secret FROM hidden)]
SELECT (ARRAY[1])[(SELECT 1 FROM hidden)]
SELECT ROW((SELECT secret FROM hidden))
SELECT coalesce((SELECT secret FROM hidden), 'x')
SELECT greatest((SELECT secret FROM hidden), 'x')
VALUES ((SELECT secret FROM hidden))
SELECT 1 IN (SELECT 1 FROM hidden)
SELECT 1 = ANY (SELECT 1 FROM hidden)
SELECT * FROM json_table('{}', '$' COLUMNS (a TEXT DEFAULT (SELECT secret FROM hidden) ON EMPTY)) x
SELECT json_object('a': (SELECT secret FROM hidden))
SELECT json_array(SELECT secret FROM hidden)
SELECT salary FROM customer
SELECT * FROM customer
SELECT customer FROM customer
SELECT c.* FROM customer c
SELECT row_to_json(c) FROM customer c
SELECT c FROM customer c
SELECT id FROM customer WHERE salary > 0
SELECT id FROM customer ORDER BY salary
SELECT max(salary) FROM customer
SELECT count(*) FROM customer GROUP BY salary
SELECT to_jsonb(customer) FROM customer
SELECT * FROM payroll
SELECT total FROM public.payroll
SELECT * FROM pg_class
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_catalog.pg_authid
SELECT * FROM pg_shadow
SELECT * FROM pg_roles
SELECT * FROM pg_settings
SELECT * FROM pg_stat_activity
SELECT * FROM pg_tables
SELECT * FROM pg_proc
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.columns
SELECT * FROM pg_toast.pg_toast_1255
SELECT * FROM pg_temp.x
WITH pg_class AS (SELECT 1) SELECT * FROM pg_class
SELECT user
SELECT current_user
SELECT session_user
SELECT current_role
SELECT system_user
SELECT current_catalog
SELECT current_schema
SELECT current_database()
SELECT current_schemas(true)
SELECT version()
SELECT current_setting('data_directory')
SELECT set_config('transaction_read_only', 'off', false)
SELECT inet_server_addr()
SELECT inet_client_addr()
SELECT pg_backend_pid()
SELECT pg_postmaster_start_time()
SELECT pg_sleep(100)
SELECT pg_sleep_for('1 minute')
SELECT pg_catalog.pg_sleep(1)
SELECT "pg_sleep"(1)
SELECT U&"\0070g_sleep"(1)
SELECT pg_read_file('/etc/passwd')
SELECT pg_read_binary_file('/etc/passwd')
SELECT pg_ls_dir('.')
SELECT * FROM pg_ls_dir('.')
SELECT * FROM ROWS FROM (pg_ls_dir('.')) x
SELECT pg_stat_file('/etc/passwd')
SELECT lo_import('/etc/passwd')
SELECT lo_create(0)
SELECT lo_get(1)
SELECT lo_export(1, '/tmp/x')
SELECT loread(1, 1)
SELECT nextval('s')
SELECT setval('s', 1)
SELECT lastval()
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock(1)
SELECT txid_current()
SELECT pg_current_xact_id()
SELECT pg_terminate_backend(1)
SELECT pg_cancel_backend(1)
SELECT pg_reload_conf()
SELECT pg_rotate_logfile()
SELECT pg_switch_wal()
SELECT pg_notify('x', 'y')
SELECT query_to_xml('SELECT * FROM hidden', true, true, '')
SELECT table_to_xml('hidden', true, true, '')
SELECT database_to_xml(true, true, '')
SELECT schema_to_xml('public', true, true, '')
SELECT cursor_to_xml('c', 1, true, true, '')
SELECT query_to_xmlschema('SELECT 1', true, true, '')
SELECT ts_stat('SELECT to_tsvector(secret) FROM hidden')
SELECT ts_rewrite('a'::tsquery, 'SELECT 1')
SELECT dblink('x', 'DELETE')
SELECT * FROM dblink('x', 'DELETE') AS t(a INT)
SELECT has_table_privilege('hidden', 'SELECT')
SELECT to_regclass('hidden')
SELECT to_regrole('postgres')
SELECT obj_description(1, 'pg_class')
SELECT pg_get_viewdef('payroll')
SELECT pg_get_functiondef(1)
SELECT pg_get_userbyid(10)
SELECT pg_relation_size('hidden')
SELECT pg_database_size('postgres')
SELECT pg_describe_object(1, 1, 1)
SELECT format_type(1, 1)
SELECT col_description(1, 1)
SELECT pg_stat_get_activity(NULL)
SELECT pg_export_snapshot()
SELECT setseed(1)
SELECT currtid2('hidden', '(0,1)')
SELECT getpgusername()
SELECT 'hidden'::regclass
SELECT 1259::regclass
SELECT 10::regrole
SELECT CAST('hidden' AS regclass)
SELECT regclass '1259'
SELECT regclass('hidden')
SELECT 1259::oid::regclass::text
SELECT '{1259}'::regclass[]
SELECT 'lower'::regproc
SELECT 'lower(text)'::regprocedure
SELECT '+'::regoper
SELECT 'int'::regtype
SELECT 'public'::regnamespace
SELECT 'english'::regconfig
SELECT 'simple'::regdictionary
SELECT '"C"'::regcollation
SELECT CAST(10 AS pg_catalog.regrole)
SELECT NULL::hidden
SELECT NULL::public.hidden
SELECT (NULL::customer).salary
SELECT '(x)'::hidden
SELECT json_populate_record(NULL::hidden, '{}')
SELECT 'x'::aclitem
SELECT 'x'::xml
SELECT 1::information_schema.cardinal_number
SELECT (c).leak FROM customer c
SELECT c.leak FROM customer c
SELECT customer.leak FROM customer
SELECT public.customer.leak FROM public.customer
SELECT leak(c) FROM customer c
SELECT public.leak(c) FROM customer c
SELECT leak(1, 2)
SELECT lower(1)
SELECT public.lower(1)
SELECT 1 ### 2
SELECT 1 OPERATOR(public.###) 2
SELECT 1 OPERATOR(public.+) 2
SELECT 1 = ANY (ARRAY[1]) AND 1 OPERATOR(public.=) ANY (ARRAY[1])
SELECT id FROM customer ORDER BY id USING OPERATOR(public.<)
SELECT x.pg_ls_dir FROM (SELECT 'a' AS pg_ls_dir) x
SELECT (x.a).pg_read_file FROM (SELECT '/etc/passwd' AS a, 1 AS pg_read_file) x
SELECT ('pg_class'::text).regclass
SELECT (1259::oid).regclass
SELECT x.regclass FROM (SELECT 1259 AS regclass) x
SELECT 'a' COLLATE public.x
SELECT id FROM item TABLESAMPLE public.system (1)
SELECT xmlelement(name a, 'b')
SELECT xmlagg('<a/>')
SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS b TEXT)
SELECT $1
SELECT id FROM customer WHERE CURRENT OF c
SELECT merge_action()
SELECT DEFAULT
SELECT FROM WHERE
SELECT (1
SELECT 'unclosed
SELECT "unclosed
/* unclosed
hello
;
-- only a comment
SELECT ('1259'::text)::regclass
SELECT 'pg_authid'::text::regclass::oid
SELECT CAST(CAST(1259 AS oid) AS pg_catalog.regclass)
SELECT '{hidden}'::regclass[]
SELECT (ARRAY['hidden'])::regclass[]
SELECT id::regtype FROM item
SELECT oid FROM item
SELECT tableoid::regclass FROM item
SELECT pg_catalog."current_user"()
SELECT pg_sleep_until(now() + interval '1 minute')
SELECT * FROM pg_sleep(10)
SELECT id FROM item WHERE pg_sleep(10) IS NULL
SELECT id FROM item ORDER BY pg_sleep(10)
SELECT (SELECT pg_sleep(10)) FROM item
SELECT CASE WHEN id = 1 THEN pg_sleep(10) END FROM item
SELECT coalesce(pg_sleep(10)::text, 'x')
SELECT U&"pg\005fsleep"(10)
SELECT pg_catalog . pg_sleep ( 10 )
SELECT pg_sleep/**/(10)
SELECT lo_put(1, 0, 'x')
SELECT lo_from_bytea(0, 'x')
SELECT lo_unlink(1)
SELECT lo_open(1, 131072)
SELECT lo_truncate(1, 0)
SELECT lowrite(1, 'x')
SELECT * FROM pg_largeobject
SELECT * FROM pg_largeobject_metadata
COPY (SELECT 1) TO PROGRAM 'id'
COPY hidden (secret) TO STDOUT WITH (FORMAT csv)
COPY item FROM PROGRAM 'id'
WITH x AS (COPY customer TO STDOUT) SELECT 1
EXPLAIN COPY customer TO STDOUT
SELECT dblink_connect('host=127.0.0.1')
SELECT dblink_exec('x', 'DELETE FROM customer')
SELECT * FROM public.dblink('x', 'SELECT 1') AS t(a INT)
SELECT set_config('graphmesh.tenant', 'globex', true)
SELECT set_config('search_path', 'public', true), leak(1, 2)
SELECT set_config('role', 'postgres', true)
SELECT current_setting('graphmesh.tenant')
SELECT current_setting('is_superuser', true)
SELECT id FROM item WHERE set_config('row_security', 'off', true) = 'off'
SELECT query_to_xml_and_xmlschema('SELECT secret FROM hidden', true, true, '')
SELECT xpath('/a', '<a/>')
SELECT xmlparse(DOCUMENT '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>')
SELECT xmlserialize(CONTENT '<a/>' AS text)
SELECT xmlforest(label) FROM item
SELECT xmlconcat('<a/>', '<b/>')
SELECT database_to_xmlschema(true, true, '')
WITH RECURSIVE t(a) AS (SELECT secret FROM hidden UNION ALL SELECT a FROM t) SELECT * FROM t
WITH RECURSIVE t(a) AS (SELECT 'x' UNION ALL SELECT h.secret FROM t, hidden h) SELECT * FROM t
WITH RECURSIVE hidden(secret) AS (SELECT 'x' UNION ALL SELECT secret FROM public.hidden) SELECT * FROM hidden
SELECT (SELECT h FROM hidden h)::text
SELECT row(h.*) FROM hidden h
SELECT leak(ROW(1, 'a', 'b', 2)::customer)
SELECT ROW(1)::public.hidden
SELECT json_populate_recordset(NULL::public.hidden, '[{}]')
SELECT (json_populate_record(NULL::customer, '{"salary": 1}')).salary
SELECT * FROM jsonb_to_record('{"a": 1}') AS t(a hidden)
SELECT * FROM json_table('[1]', '$[*]' COLUMNS (a regclass PATH '$')) AS t
SELECT json_value('1259', '$' RETURNING regclass)
SELECT jsonb_path_query('{}', '$', (SELECT to_jsonb(h) FROM hidden h))
SELECT json_query((SELECT to_json(h) FROM hidden h), '$')
SELECT E'\x41' FROM hidden
SELECT E'a\'; DELETE FROM customer; --' FROM hidden
SELECT U&'\0061' FROM U&"\0068idden"
SELECT U&"d\0061t" UESCAPE '!' FROM hidden
SELECT /* */ secret /* FROM item */ FROM hidden -- item
SELECT 1 /* nested /* */ FROM item */ FROM hidden
SELECT $$a$$ FROM hidden
SELECT $a$ $b$ $a$ FROM hidden
SELECT 'a' 'b' FROM hidden
SELECT 1::information_schema.sql_identifier
SELECT 'x'::information_schema.character_data
SELECT 'x'::pg_catalog.pg_lsn
SELECT '1:1:'::pg_snapshot
SELECT NULL::pg_class
SELECT NULL::pg_catalog.pg_authid
SELECT 'x'::refcursor
SELECT '(0,1)'::tid
SELECT ctid FROM hidden
SELECT l.* FROM item i, LATERAL (SELECT h.secret FROM hidden h LIMIT i.id) l
SELECT l.* FROM item i CROSS JOIN LATERAL pg_ls_dir(i.label) l
SELECT l.* FROM item i LEFT JOIN LATERAL (SELECT leak(1, i.id)) l ON true
SELECT a.* FROM generate_series(1, 3) g, LATERAL (SELECT * FROM pg_stat_activity) a
SELECT id FROM item i1 CROSS JOIN LATERAL generate_series(1, 100000) a CROSS JOIN LATERAL generate_series(1, 100000) b CROSS JOIN LATERAL generate_series(1, a * b) c ORDER BY c
SELECT count(*) FROM item a, item b, generate_series(1, 100000) c, generate_series(1, 100000) d
SELECT pg_input_is_valid('hidden', 'regclass')
SELECT pg_input_error_info('hidden', 'regclass')
SELECT pg_catalog.pg_get_expr('x', 1259)
SELECT pg_get_indexdef(1)
SELECT pg_identify_object(1259, 1259, 0)
SELECT pg_tablespace_location(1)
SELECT shobj_description(1, 'pg_database')
SELECT pg_stat_reset()
SELECT pg_logical_emit_message(false, 'x', 'y')
SELECT pg_log_backend_memory_contexts(1)
SELECT * FROM pg_backend_memory_contexts
SELECT pg_ls_waldir()
SELECT pg_ls_tmpdir()
SELECT pg_read_server_files FROM item
SELECT pg_promote()
SELECT binary_upgrade_set_next_pg_type_oid(1)
SELECT graphmesh.backend_memory(1)
SELECT repeat('a', 900000000)
SELECT lpad('a', 900000000), rpad('a', 900000000)
SELECT string_agg(repeat('x', 90000), repeat('y', 90000)) FROM generate_series(1, 100000)
SELECT array_fill('x'::text, ARRAY[100000000])
SELECT format('%100000000s', 'x')
SELECT 'x'::char(10000000)
