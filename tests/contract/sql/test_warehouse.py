"""The contract of the warehouse, on SQLite and on PostgreSQL: it answers queries and can only read.

The tests bypass the guard, to show that the connections refuse writes by themselves.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded
from graphmesh_sql.domain import ColumnType, Dialect, Row, Rule, RuleBroken, Schema, Unanswerable
from graphmesh_sql.guard import check_query
from graphmesh_sql.warehouse import Warehouse
from graphmesh_sql.warehouse_postgres import PostgresWarehouse
from graphmesh_sql.warehouse_sqlite import SqliteWarehouse
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.engine import make_url

from tests.contract.chassis.transaction_pooler import transaction_pooler

TABLES = """
    CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT);
    CREATE TABLE "Order" (
        id INTEGER, line INTEGER, customer_id INTEGER NOT NULL REFERENCES customer (id), total NUMERIC(10, 2),
        PRIMARY KEY (id, line)
    );
    CREATE VIEW spending AS SELECT customer_id, sum(total) AS total FROM "Order" GROUP BY customer_id;
    INSERT INTO customer VALUES (1, 'Ada', NULL), (2, 'Bruno', 'x'), (3, 'Chiara', 'y');
    INSERT INTO "Order" VALUES (1, 1, 1, 9.5), (1, 2, 1, 2.25), (2, 1, 2, 100);
"""
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) SELECT {what} FROM n"
ENDLESS = NUMBERS.format(most=10**12, what="count(*)")


@dataclass(frozen=True)
class Target:
    """A database with a warehouse over it."""

    warehouse: Warehouse
    address: str
    """The path of the SQLite file, or a superuser's URL of the PostgreSQL database."""

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self.warehouse, SqliteWarehouse)

    def customer_count(self) -> int:
        if self.is_sqlite:
            with closing(sqlite3.connect(self.address)) as connection:
                return int(connection.execute("SELECT count(*) FROM customer").fetchone()[0])
        with psycopg.connect(self.address) as connection:
            row = connection.execute("SELECT count(*) FROM customer").fetchone()
            return int(row[0]) if row else -1


def sqlite_target(folder: Path) -> Target:
    path = folder / "target with a #.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
    return Target(SqliteWarehouse(path, max_steps=50_000_000), str(path))


def postgres_target(url: str) -> Target:
    """Open a warehouse whose role has no privilege but SELECT, as its module requires."""
    superuser = url.replace("+psycopg", "")
    role, password = f"analyst_{secrets.token_hex(4)}", secrets.token_hex(8)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute("CREATE TABLE hidden (secret TEXT); CREATE SCHEMA sales; CREATE TABLE sales.deal (id INT)")
        connection.execute("COMMENT ON TABLE customer IS 'Who buys'; ANALYZE")
        for statement in (
            "CREATE ROLE {role} LOGIN PASSWORD {password}",
            "GRANT USAGE ON SCHEMA sales TO {role}",
            'GRANT SELECT ON customer, "Order", spending, sales.deal TO {role}',
        ):
            connection.execute(SQL(statement).format(role=Identifier(role), password=Literal(password)))
    address = url.rpartition("@")[2]
    return Target(PostgresWarehouse(f"postgresql+psycopg://{role}:{password}@{address}", max_cost=1e7), superuser)


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "sqlite":
        return sqlite_target(tmp_path)
    return postgres_target(request.getfixturevalue("postgres_url"))


@pytest_asyncio.fixture
async def schema(target: Target) -> AsyncIterator[Schema]:
    yield await target.warehouse.describe()


async def rows(target: Target, text: str, seconds: float = 10.0) -> list[Row]:
    async with target.warehouse.query(text, "acme", seconds) as result:
        found: list[Row] = []
        while piece := await result.fetch(2):
            found += piece
        return found


async def test_schema_is_described(target: Target, schema: Schema) -> None:
    """Tables and views with columns, keys and estimates; quoted names; no table without the SELECT privilege."""
    tables = {table.name: table for table in schema.tables}
    expected = {'"Order"', "customer", "spending"} | (set() if target.is_sqlite else {"sales.deal"})
    assert set(tables) == expected
    order, customer = tables['"Order"'], tables["customer"]
    assert order.primary_key == ("id", "line")
    assert [(key.columns, key.referred_table, key.referred_columns) for key in order.foreign_keys] == [
        (("customer_id",), "customer", ("id",))
    ]
    assert [(column.name, column.type, column.nullable) for column in customer.columns] == [
        ("id", ColumnType.INT64, False),
        ("name", ColumnType.STRING, False),
        ("note", ColumnType.STRING, True),
    ]
    assert (customer.row_estimate, customer.view, tables["spending"].view) == (3, False, True)


async def test_schema_has_a_prompt_text(target: Target, schema: Schema) -> None:
    lines = schema.prompt_text().splitlines()
    line = next(line for line in lines if line.startswith("table customer("))
    assert line.lower().startswith("table customer(id integer primary key, name text not null, note text) ~3 rows")
    assert line.endswith("" if target.is_sqlite else "-- Who buys")
    assert len(lines) == len(schema.tables)


async def test_described_names_can_be_queried(target: Target, schema: Schema) -> None:
    """The guard and the database accept all names of the description."""
    for table in schema.tables:
        text = f"SELECT {', '.join(column.name for column in table.columns)} FROM {table.name}"
        check_query(text, schema)
        await rows(target, text)


async def test_rows_are_fetched_incrementally_with_types(target: Target) -> None:
    """NULL is None; the columns are known before the rows, also for an empty result."""
    text = "SELECT id, name, note, CAST(id * 1.5 AS DOUBLE PRECISION) AS x FROM customer ORDER BY id"
    async with target.warehouse.query(text, "acme", 5.0) as result:
        assert [column.name for column in result.columns] == ["id", "name", "note", "x"]
        assert [column.type for column in result.columns] == [
            ColumnType.INT64, ColumnType.STRING, ColumnType.STRING, ColumnType.DOUBLE
        ]  # fmt: skip
        assert await result.fetch(2) == [(1, "Ada", None, 1.5), (2, "Bruno", "x", 3.0)]
        assert await result.fetch(2) == [(3, "Chiara", "y", 4.5)]
        assert await result.fetch(2) == []
    async with target.warehouse.query("SELECT id FROM customer WHERE id > 9", "acme", 5.0) as result:
        assert ([column.name for column in result.columns], await result.fetch(1)) == (["id"], [])


async def test_result_is_streamed(target: Target) -> None:
    """The first rows of an endless result arrive immediately, and leaving the body ends the query."""
    began = time.monotonic()
    text = NUMBERS.format(most=10**12, what="i") if target.is_sqlite else "SELECT * FROM generate_series(1, 5000000)"
    async with target.warehouse.query(text, "acme", 30.0) as result:
        assert await result.fetch(3) == [(1,), (2,), (3,)]
    assert time.monotonic() - began < 20


WRITES = [
    "INSERT INTO customer VALUES (9, 'x', 'y')",
    "UPDATE customer SET name = 'x'",
    "DELETE FROM customer",
    "DROP TABLE customer",
    "CREATE TABLE y (a INT)",
    "CREATE TEMP TABLE y (a INT)",
    "SELECT 1; DELETE FROM customer",
    "WITH x AS (SELECT 1) DELETE FROM customer",
    "BEGIN",
    "COMMIT; DELETE FROM customer",
    "VACUUM",
]
SQLITE_WRITES = ["PRAGMA query_only = OFF", "PRAGMA user_version = 3", "ATTACH ':memory:' AS x", "REINDEX", "ANALYZE"]
POSTGRES_WRITES = [
    "SELECT set_config('transaction_read_only', 'off', true) FROM (DELETE FROM customer) x",
    "WITH x AS (DELETE FROM customer RETURNING *) SELECT * FROM x",
    "SELECT * INTO y FROM customer",
    "SELECT * FROM customer FOR UPDATE",
    "COPY customer TO STDOUT",
    "SET ROLE postgres",
    "SELECT * FROM hidden",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_create(0)",
]


async def test_connection_refuses_writes_without_the_guard(target: Target) -> None:
    """Defence in depth: no statement changes the data."""
    for text in WRITES + (SQLITE_WRITES if target.is_sqlite else POSTGRES_WRITES):
        with pytest.raises((RuleBroken, Unanswerable)):
            await rows(target, text)
    assert target.customer_count() == 3


async def test_database_ends_a_query_at_its_timeout(target: Target) -> None:
    """The call returns soon after the timeout."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await rows(target, ENDLESS, seconds=0.3)
    assert time.monotonic() - began < 20


async def test_cancelled_query_ends_in_the_database(target: Target) -> None:
    """A query without a caller must not use the database any more."""
    running = asyncio.create_task(rows(target, ENDLESS, seconds=30))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    if not target.is_sqlite:
        with psycopg.connect(target.address) as connection:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'graphmesh-sql' AND state = 'active'"
            for _ in range(50):
                row = connection.execute(busy).fetchone()
                if row == (0,):
                    return
                await asyncio.sleep(0.1)
        pytest.fail("the query still runs")


async def test_expensive_query_is_refused(target: Target) -> None:
    """By the planner's estimate on PostgreSQL, by instructions on SQLite, long before the timeout."""
    text = "SELECT count(*) FROM {}".format(" CROSS JOIN ".join(f"customer c{n}" for n in range(20)))
    with pytest.raises(RuleBroken) as refusal:
        await rows(target, text, seconds=60)
    assert refusal.value.rule is Rule.COST


async def test_unanswerable_query_has_the_database_message(target: Target) -> None:
    """The message quotes the query, and nothing of the server."""
    for text, part in {
        "SELECT totl FROM customer": "totl",
        "SELECT * FROM nowhere": "nowhere",
        "SELECT count(name, note, id) FROM customer": "count",
    }.items():
        with pytest.raises(Unanswerable, match=part):
            await rows(target, text)


async def test_error_between_rows_is_raised(target: Target) -> None:
    """A result can fail after its first rows."""
    if target.is_sqlite:
        what = "CASE WHEN i < 150 THEN i ELSE abs(-9223372036854775807 - 1) END"
        text = NUMBERS.format(most=200, what=what)
    else:
        text = "SELECT 1 / (150 - g) FROM generate_series(1, 200) g"
    with pytest.raises(Unanswerable):
        await rows(target, text)


async def test_missing_database_is_unavailable(tmp_path: Path) -> None:
    """A wrong path in the settings creates no file."""
    missing = tmp_path / "missing.db"
    for warehouse in (SqliteWarehouse(missing, 10**6), PostgresWarehouse("postgresql://x@127.0.0.1:1/x", 1.0)):
        for attempt in (warehouse.ping, warehouse.describe):
            with pytest.raises(DatabaseUnavailable):
                await attempt()
    assert not missing.exists()


async def test_postgresql_values_have_their_types(postgres_url: str) -> None:
    """Exact numbers, dates, instants, and types without a counterpart in the contract are text."""
    target = postgres_target(postgres_url)
    text = """SELECT true, 9223372036854775807, 1.5::float8, 12.50::numeric, 'x'::varchar, '\\x00ff'::bytea,
        date '2026-01-31', timestamptz '2026-01-31 12:00+02', '{"a": [1]}'::jsonb, ARRAY[1, 2],
        interval '1 day', NULL"""
    async with target.warehouse.query(text, "acme", 5.0) as result:
        assert await result.fetch(1) == [
            (True, 2**63 - 1, 1.5, "12.50", "x", b"\x00\xff", "2026-01-31", "2026-01-31 10:00:00+00", '{"a": [1]}',
             "{1,2}", "1 day", None)
        ]  # fmt: skip
        assert [column.type for column in result.columns][:9] == [
            ColumnType.BOOL, ColumnType.INT64, ColumnType.DOUBLE, ColumnType.DECIMAL, ColumnType.STRING,
            ColumnType.BYTES, ColumnType.DATE, ColumnType.TIMESTAMP, ColumnType.OTHER,
        ]  # fmt: skip


async def test_row_level_security_can_isolate_tenants(postgres_url: str) -> None:
    """The caller's tenant is a setting for the target's own policies, which a query cannot change."""
    target = postgres_target(postgres_url)
    with psycopg.connect(target.address, autocommit=True) as connection:
        connection.execute("ALTER TABLE customer ENABLE ROW LEVEL SECURITY")
        policy = "CREATE POLICY mine ON customer USING (name = current_setting('graphmesh.tenant'))"
        connection.execute(policy)
    async with target.warehouse.query("SELECT name FROM customer", "Bruno", 5.0) as result:
        assert await result.fetch(9) == [("Bruno",)]


async def test_queries_pass_a_pooler_that_shares_sessions(postgres_url: str) -> None:
    """Each query is one transaction, and leaves nothing in its session."""
    url = make_url(postgres_url)
    async with transaction_pooler(url.host or "", url.port or 0) as port:
        warehouse = PostgresWarehouse(url.set(port=port).render_as_string(hide_password=False), max_cost=1e7)
        for number in range(3):
            async with warehouse.query(f"SELECT {number}", "acme", 10) as result:
                assert await result.fetch(10) == [(number,)]


async def test_allowed_postgresql_functions_have_no_side_effects(postgres_url: str) -> None:
    """Of all functions of PostgreSQL the guard allows no volatile ones, except random numbers, UUIDs and the clock."""
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        shipped = connection.execute("SELECT DISTINCT proname, provolatile FROM pg_proc").fetchall()
    schema = Schema(Dialect.POSTGRESQL, ("public",), ())

    def passes(name: str, arguments: int) -> bool:
        try:
            check_query(f"SELECT {name}({', '.join('1' * arguments)})", schema)
        except RuleBroken:
            return False
        return True

    volatile = {name for name, volatility in shipped if volatility == "v" and any(passes(name, n) for n in range(5))}
    assert volatile <= {"random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "clock_timestamp"}
