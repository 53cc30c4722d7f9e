"""The contract of an engine, on SQLite and on PostgreSQL: it answers queries, within limits, and can only read."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from graphmesh_sql.domain import (
    ColumnType,
    Dialect,
    Head,
    Limits,
    Rule,
    RuleBroken,
    Stopped,
    Truncation,
    Unanswerable,
    Unchanged,
    Unreachable,
)
from graphmesh_sql.worker import postgresql
from graphmesh_sql.worker.postgresql import PostgresEngine
from graphmesh_sql.worker.postgresql_guard import Checked
from graphmesh_sql.worker.sqlite import SqliteEngine
from graphmesh_sql.worker.sqlite_authorizer import Authorizer
from sqlalchemy.engine import make_url

from tests.contract.chassis.transaction_pooler import transaction_pooler
from tests.contract.sql.targets import Session, Target, postgres_target, sqlite_target, worker_settings

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) SELECT {what} FROM n"
ENDLESS = NUMBERS.format(most=10**12, what="count(*)")


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "sqlite":
        return sqlite_target(tmp_path)
    return postgres_target(request.getfixturevalue("postgres_url"))


@pytest.fixture
def session(target: Target) -> Session:
    return Session(target)


@pytest.fixture
def on_postgresql(postgres_url: str) -> Session:
    return Session(postgres_target(postgres_url))


def test_schema_is_what_the_role_may_read(session: Session) -> None:
    """Tables and views with columns, keys and estimates; quoted names; no other table or column."""
    tables = {table.name: table for table in session.schema().tables}
    expected = {'"Order"', "customer", "item", "spending"}
    assert set(tables) == expected | (set() if session.target.is_sqlite else {"sales.deal", "visit"})
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


def test_schema_has_a_prompt_text(session: Session) -> None:
    lines = session.schema().prompt_text().splitlines()
    line = next(line for line in lines if line.startswith("table customer("))
    assert line.lower().startswith("table customer(id integer primary key, name text not null, note text) ~3 rows")
    assert line.endswith("" if session.target.is_sqlite else "-- Who buys")


def test_described_names_can_be_queried(session: Session) -> None:
    for table in session.schema().tables:
        session.rows(f"SELECT {', '.join(column.name for column in table.columns)} FROM {table.name}")


def test_a_role_reads_a_view_without_its_tables(session: Session) -> None:
    """And cannot reach them under the view's name."""
    finance = session.target.finance
    assert session.rows("SELECT total FROM payroll", role=finance) == [(21006,)]
    assert [table.name for table in session.schema(finance).tables] == ["payroll"]
    for text in (
        "SELECT salary FROM customer",
        'SELECT * FROM "Order"',
        "WITH payroll AS (SELECT * FROM customer) SELECT * FROM payroll",
        "WITH payroll AS (SELECT (SELECT salary FROM customer) AS x FROM (SELECT 1 AS salary) y) SELECT * FROM payroll",
        "SELECT (SELECT max(salary) FROM customer) FROM payroll",
        "SELECT * FROM (SELECT salary FROM customer) AS payroll",
    ):
        with pytest.raises((RuleBroken, Unanswerable)):
            session.rows(text, role=finance)


def test_columns_of_another_role_have_no_meaning(session: Session) -> None:
    """Not by name, by `*`, in a condition, nor where a subquery finds them before a column of the outer query."""
    for text in (
        "SELECT salary FROM customer",
        "SELECT * FROM customer",
        "SELECT customer.* FROM customer",
        "SELECT id FROM customer WHERE salary > 7001",
        "SELECT id FROM customer ORDER BY salary",
        "SELECT count(*) FROM customer GROUP BY salary",
        "SELECT (SELECT max(salary) FROM customer) FROM (SELECT 1 AS salary) x",
        "WITH spending AS (SELECT (SELECT salary FROM customer) FROM (SELECT 1 AS salary) x) SELECT * FROM spending",
        "SELECT customer FROM customer",
        "SELECT * FROM payroll",
        "SELECT * FROM hidden",
    ):
        with pytest.raises((RuleBroken, Unanswerable)):
            session.rows(text)


def test_unknown_role_is_refused(session: Session) -> None:
    with pytest.raises(RuleBroken) as refusal:
        session.rows("SELECT 1", role="nobody")
    assert refusal.value.rule is Rule.ROLE


def test_result_has_types_and_parameters(session: Session) -> None:
    """NULL is None; the columns are known before the rows, also for an empty result."""
    text = "SELECT id, name, note, CAST(id * 1.5 AS DOUBLE PRECISION) AS x FROM customer WHERE id < $1 ORDER BY id"
    answer = session.ask(session.target.query(text, 3))
    assert [(column.name, column.type) for column in answer.head.columns] == [
        ("id", ColumnType.INT64), ("name", ColumnType.STRING), ("note", ColumnType.STRING), ("x", ColumnType.DOUBLE)
    ]  # fmt: skip
    assert answer.rows == [(1, "Ada", None, 1.5), (2, "Bruno", "x", 3.0)]
    empty = session.ask(session.target.query("SELECT id FROM customer WHERE id > 9"))
    assert ([column.name for column in empty.head.columns], empty.rows) == (["id"], [])


@pytest.mark.parametrize(
    ("text", "values"), [("SELECT $1", ()), ("SELECT $1", (1, 2)), ("SELECT $2", (1,)), ("SELECT 1", ("x",))]
)
def test_parameters_and_values_have_to_match(session: Session, text: str, values: tuple[str, ...]) -> None:
    with pytest.raises(RuleBroken) as refusal:
        session.rows(text, *values)
    assert refusal.value.rule is Rule.PARAMETER


def test_a_parameter_is_a_value_and_no_text_of_the_query(session: Session) -> None:
    rows = session.rows("SELECT id FROM customer WHERE name = $1", "' OR 1=1 --")
    assert rows == []


@pytest.mark.parametrize(
    ("max_rows", "max_bytes", "sent", "truncation"),
    [(3, 1 << 20, 3, Truncation.NONE), (2, 1 << 20, 2, Truncation.ROWS), (3, 30, 1, Truncation.BYTES)],
)
def test_result_ends_at_its_limits(
    session: Session, max_rows: int, max_bytes: int, sent: int, truncation: Truncation
) -> None:
    query = replace(session.target.query("SELECT id, name FROM customer"), limits=Limits(5, max_rows, max_bytes))
    answer = session.ask(query)
    assert (len(answer.rows), answer.end.row_count, answer.end.truncation) == (sent, sent, truncation)


def test_rows_come_as_soon_as_there_are_any(session: Session) -> None:
    """The first batch of an endless result does not wait until it is full."""
    text = NUMBERS.format(most=10**12, what="i") if session.target.is_sqlite else "SELECT generate_series(1, 50000000)"
    query = replace(session.target.query(text), limits=Limits(30, 10**6, 1 << 30))
    parts = iter(session.engine.query(query, session.schema()))
    assert isinstance(next(parts), Head)
    assert next(parts)
    parts.close()  # type: ignore[attr-defined]


def test_query_is_planned_before_it_runs(session: Session) -> None:
    """What the planner expects is known without a row, and is part of the result."""
    (head,) = session.plan('SELECT o.total, c.name FROM "Order" o JOIN customer c ON c.id = o.customer_id')
    assert isinstance(head, Head)
    assert head.estimate.cost > 0
    assert any("Order" in line or "o" in line for line in head.estimate.plan)
    with pytest.raises(RuleBroken):
        list(session.plan("SELECT * FROM hidden"))


def test_expensive_query_is_refused(session: Session) -> None:
    """By the planner's estimate on PostgreSQL, by instructions on SQLite, long before the timeout."""
    text = "SELECT count(*) FROM {}".format(" CROSS JOIN ".join(f"item c{n}" for n in range(20)))
    with pytest.raises(RuleBroken) as refusal:
        session.rows(text, seconds=60)
    assert refusal.value.rule is Rule.COST


def test_database_ends_a_query_at_its_timeout(session: Session) -> None:
    began = time.monotonic()
    with pytest.raises(Stopped):
        session.rows(ENDLESS, seconds=0.3)
    assert time.monotonic() - began < 20


def test_data_that_have_not_changed_need_no_query(session: Session) -> None:
    """A commit by another connection changes the version; so does nothing else."""
    target = session.target
    while not (first := session.ask(target.query("SELECT id FROM item")).head).version:
        time.sleep(0.01)  # a file that has just been written may be written again within a tick of its clock
    assert first.repeatable
    unless = replace(target.query("SELECT id FROM item"), unless_version=first.version)
    assert list(session.engine.query(unless, session.schema())) == [Unchanged()]
    with closing(
        sqlite3.connect(target.address) if target.is_sqlite else psycopg.connect(target.address)
    ) as connection:
        connection.execute("INSERT INTO item VALUES (4, 'nib', 3, '[]')")
        connection.commit()
    head, *_ = session.engine.query(unless, session.schema())
    assert isinstance(head, Head)
    assert head.version != first.version


@pytest.mark.parametrize(
    ("text", "repeatable"),
    [("SELECT id FROM item", True), ("SELECT random()", False), ("SELECT CURRENT_TIMESTAMP", False)],
)
def test_result_of_clock_or_chance_is_not_repeatable(session: Session, text: str, repeatable: bool) -> None:
    assert session.ask(session.target.query(text)).head.repeatable is repeatable


def test_unanswerable_query_has_the_database_message(session: Session) -> None:
    """The message quotes the query, and nothing of the server."""
    for text, part in {
        "SELECT totl FROM customer": "totl",
        "SELECT count(name, note, id) FROM customer": "count",
        "SELECT id FROM item GROUP BY absent": "absent",
    }.items():
        with pytest.raises(Unanswerable, match=part):
            session.rows(text)


def test_error_between_rows_is_raised(session: Session) -> None:
    """A result can fail after its first rows."""
    if session.target.is_sqlite:
        what = "CASE WHEN i < 150 THEN i ELSE abs(-9223372036854775807 - 1) END"
        text = NUMBERS.format(most=200, what=what)
    else:
        text = "SELECT 1 / (150 - g) FROM generate_series(1, 200) g"
    with pytest.raises(Unanswerable):
        session.rows(text)


def test_missing_database_is_unreachable(tmp_path: Path) -> None:
    """A wrong path in the settings creates no file."""
    missing = tmp_path / "missing.db"
    for engine in (
        SqliteEngine(worker_settings(str(missing), {})),
        PostgresEngine(worker_settings("postgresql://x@127.0.0.1:1/x", {})),
    ):
        attempts: tuple[Callable[[], object], ...] = (engine.ping, partial(engine.describe, ""))
        for attempt in attempts:
            with pytest.raises(Unreachable):
                attempt()
    assert not missing.exists()


WRITES = [
    "INSERT INTO customer VALUES (9, 'x', 'y', 1)",
    "UPDATE customer SET name = 'x'",
    "DELETE FROM customer",
    "DROP TABLE customer",
    "CREATE TABLE y (a INT)",
    "CREATE TEMP TABLE y (a INT)",
    "SELECT 1; DELETE FROM customer",
    "WITH x AS (SELECT 1) DELETE FROM customer",
    "VACUUM",
]
SQLITE_WRITES = ["PRAGMA user_version = 3", "REINDEX", "ANALYZE"]
POSTGRES_WRITES = [
    "SELECT set_config('transaction_read_only', 'off', true) FROM (DELETE FROM customer) x",
    "WITH x AS (DELETE FROM customer RETURNING *) SELECT * FROM x",
    "SELECT * INTO y FROM customer",
    "SELECT * FROM customer FOR UPDATE",
    "COPY customer TO STDOUT",
    "SET ROLE postgres",
    "SELECT * FROM public.hidden",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_create(0)",
    "SELECT salary FROM public.customer",
]


def test_connection_refuses_writes_without_the_guard(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second fence: without the first one, no statement changes the data either."""
    monkeypatch.setattr(Authorizer, "__call__", lambda *_: sqlite3.SQLITE_OK)
    monkeypatch.setattr(postgresql, "check", lambda text, *_: Checked(text, False, True, frozenset()))
    for text in WRITES + (SQLITE_WRITES if session.target.is_sqlite else POSTGRES_WRITES):
        with pytest.raises((RuleBroken, Unanswerable, Unreachable)):
            session.rows(text)
    assert session.target.customer_count() == 3


def test_postgresql_values_have_their_types(on_postgresql: Session) -> None:
    """Exact numbers, dates, instants, and types without a counterpart in the contract are text."""
    text = """SELECT true, 9223372036854775807, 1.5::float8, 12.50::numeric, 'x'::varchar, '\\x00ff'::bytea,
        date '2026-01-31', timestamptz '2026-01-31 12:00+02', '{"a": [1]}'::jsonb, ARRAY[1, 2],
        interval '1 day', NULL, 'glad'::mood"""
    answer = on_postgresql.ask(on_postgresql.target.query(text))
    assert answer.rows == [
        (True, 2**63 - 1, 1.5, "12.50", "x", b"\x00\xff", "2026-01-31", "2026-01-31 10:00:00+00", '{"a": [1]}',
         "{1,2}", "1 day", None, "glad")
    ]  # fmt: skip
    assert [column.type for column in answer.head.columns][:10] == [
        ColumnType.BOOL, ColumnType.INT64, ColumnType.DOUBLE, ColumnType.DECIMAL, ColumnType.STRING,
        ColumnType.BYTES, ColumnType.DATE, ColumnType.TIMESTAMP, ColumnType.OTHER, ColumnType.OTHER,
    ]  # fmt: skip


def test_row_level_security_can_isolate_tenants(on_postgresql: Session) -> None:
    """The caller's tenant is a setting for the target's own policies, which a query cannot change."""
    with psycopg.connect(on_postgresql.target.address, autocommit=True) as connection:
        connection.execute("ALTER TABLE item ENABLE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY mine ON item USING (label = current_setting('graphmesh.tenant'))")
    assert on_postgresql.ask(replace(on_postgresql.target.query("SELECT label FROM item"), tenant="ink")).rows == [
        ("ink",)
    ]


async def test_queries_pass_a_pooler_that_shares_sessions(postgres_url: str) -> None:
    """Each query is one transaction, and leaves nothing in its session."""
    url = make_url(postgres_url)
    async with transaction_pooler(url.host or "", url.port or 0) as port:
        address = url.set(port=port).render_as_string(hide_password=False)
        engine = PostgresEngine(worker_settings(address, {}))
        target = Target(worker_settings(address, {}), address, "", "")
        schema = await asyncio.to_thread(engine.describe, "")

        def answer(number: int) -> list[object]:
            return list(engine.query(target.query(f"SELECT {number}"), schema))

        for number in range(3):
            assert (await asyncio.to_thread(answer, number))[1] == [(number,)]


def test_a_large_row_never_leaves_postgresql(on_postgresql: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails in the server, whatever the type of its columns."""
    monkeypatch.setattr("graphmesh_sql.domain.ROW_BYTES", 1 << 40)  # the check of what has arrived
    long = "string_agg(repeat('a', 10000), '')"
    for columns, count in (
        (long, 300),
        (f"{long}::bytea", 300),
        ("array_agg(g)", 400000),
        (f"to_jsonb({long})", 300),
        (f"1, {long}, {long}", 150),
        (f"n, (SELECT {long} FROM generate_series(1, n * 100))", 4),
    ):
        text = f"SELECT {columns} FROM generate_series(1, {count}) {'n' if columns.startswith('n,') else 'g'}"
        with pytest.raises(Unanswerable, match="a row has more than"):
            on_postgresql.rows(text)


def test_postgresql_bounds_temporary_space(on_postgresql: Session) -> None:
    text = "SELECT count(*) FROM (SELECT DISTINCT g, repeat('x', 1000) FROM generate_series(1, 200000) g) x"
    with pytest.raises(Unanswerable, match="temporary space"):
        on_postgresql.rows(text, seconds=60)


def test_allowed_postgresql_functions_have_no_side_effects(postgres_url: str) -> None:
    """Of all functions of PostgreSQL the guard allows no volatile ones, except random numbers, UUIDs and the clock."""
    from graphmesh_sql.worker.postgresql_functions import FUNCTIONS

    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        shipped = connection.execute("SELECT DISTINCT proname, provolatile FROM pg_proc").fetchall()
    volatile = {name for name, volatility in shipped if volatility == "v"} & FUNCTIONS
    assert volatile <= {
        *("random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "clock_timestamp", "timeofday"),
        *("array_sample", "array_shuffle"),
    }


def test_memory_of_sqlite_is_bounded(tmp_path: Path) -> None:
    """Also where no single value is large, and the process has no limit."""
    with pytest.raises(MemoryError):
        Session(sqlite_target(tmp_path)).rows("SELECT " + ", ".join(["hex(zeroblob(450000))"] * 40))


def test_dialects_are_described(session: Session) -> None:
    assert session.schema().dialect is (Dialect.SQLITE if session.target.is_sqlite else Dialect.POSTGRESQL)
