"""Databases that hold what a query may read, and what it must not."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from graphmesh_sql.domain import Dialect, End, Head, Limits, Query, Row, Schema, Value
from graphmesh_sql.worker.engine import Engine
from graphmesh_sql.worker.postgresql import PostgresEngine
from graphmesh_sql.worker.settings import WorkerSettings
from graphmesh_sql.worker.sqlite import SqliteEngine
from psycopg.sql import SQL, Identifier, Literal

TABLES = """
    CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT, salary INTEGER);
    CREATE TABLE "Order" (
        id INTEGER, line INTEGER, customer_id INTEGER NOT NULL REFERENCES customer (id), total NUMERIC(10, 2),
        day DATE, PRIMARY KEY (id, line)
    );
    CREATE TABLE item (id INTEGER PRIMARY KEY, label TEXT, price DOUBLE PRECISION, tags TEXT);
    CREATE VIEW spending AS SELECT customer_id, sum(total) AS total FROM "Order" GROUP BY customer_id;
    CREATE VIEW payroll AS SELECT sum(salary) AS total FROM customer;
    INSERT INTO customer VALUES (1, 'Ada', NULL, 7001), (2, 'Bruno', 'x', 7002), (3, 'Chiara', 'y', 7003);
    INSERT INTO "Order" VALUES
        (1, 1, 1, 9.5, '2026-01-31'), (1, 2, 1, 2.25, '2026-02-01'), (2, 1, 2, 100, '2026-03-01');
    INSERT INTO item VALUES (1, 'pen', 19.5, '["blue", "fine"]'), (2, 'ink', 6.25, '["blue"]'), (3, 'pad', 12, '[]');
"""
HIDDEN = "CREATE TABLE hidden (secret TEXT); INSERT INTO hidden VALUES ('TOPSECRET');"
POSTGRES_TABLES = """
    CREATE SCHEMA sales;
    CREATE TABLE sales.deal (id INT, amount INT);
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE visit (id INT PRIMARY KEY, at TIMESTAMPTZ, data JSONB, parts INT[], state mood);
    INSERT INTO visit VALUES (1, '2026-01-31 12:00+00', '{"a": [1, 2]}', '{1,2,3}', 'glad');
    COMMENT ON TABLE customer IS 'Who buys';
    CREATE FUNCTION lower(INT) RETURNS TEXT LANGUAGE SQL SECURITY DEFINER AS 'SELECT secret FROM public.hidden';
    CREATE FUNCTION leak(customer) RETURNS TEXT LANGUAGE SQL SECURITY DEFINER AS 'SELECT secret FROM public.hidden';
    CREATE FUNCTION leak(INT, INT) RETURNS TEXT LANGUAGE SQL SECURITY DEFINER AS 'SELECT secret FROM public.hidden';
    CREATE OPERATOR ### (LEFTARG = INT, RIGHTARG = INT, FUNCTION = leak);
    ANALYZE;
"""
GRANTS = (
    "CREATE ROLE {role} LOGIN PASSWORD {password}",
    "CREATE ROLE {finance}",
    "GRANT {finance} TO {role} WITH INHERIT FALSE",
    "ALTER ROLE {role} SET temp_file_limit = '64MB'",
    "GRANT USAGE ON SCHEMA sales TO {role}",
    'GRANT SELECT ON "Order", item, spending, visit, sales.deal TO {role}',
    "GRANT SELECT (id, name, note) ON customer TO {role}",
    "GRANT SELECT ON payroll TO {finance}",
)
READABLE = {"Order": ["*"], "item": ["*"], "spending": ["*"], "customer": ["id", "name", "note"]}
MAX_COST = 1e7


@dataclass(frozen=True)
class Target:
    """A database, and how the service is to read it."""

    settings: WorkerSettings
    address: str
    """The path of the SQLite file, or a superuser's URL of the PostgreSQL database."""
    role: str
    """A role that reads less than there is; on PostgreSQL that of the connection does."""
    finance: str
    """A role that may read the view `payroll` alone."""

    @property
    def is_sqlite(self) -> bool:
        return not self.address.startswith("postgresql")

    @property
    def dialect(self) -> Dialect:
        return Dialect.SQLITE if self.is_sqlite else Dialect.POSTGRESQL

    def engine(self) -> Engine:
        return SqliteEngine(self.settings) if self.is_sqlite else PostgresEngine(self.settings)

    def query(self, text: str, *parameters: Value, role: str | None = None, seconds: float = 60.0) -> Query:
        return Query(text, parameters, "acme", self.role if role is None else role, "", Limits(seconds, 1000, 1 << 24))

    def customer_count(self) -> int:
        if self.is_sqlite:
            with closing(sqlite3.connect(self.address)) as connection:
                return int(connection.execute("SELECT count(*) FROM customer").fetchone()[0])
        with psycopg.connect(self.address) as connection:
            row = connection.execute("SELECT count(*) FROM customer").fetchone()
            return int(row[0]) if row else -1


@dataclass(frozen=True)
class Answer:
    head: Head
    rows: list[Row]
    end: End


class Session:
    """An engine in this process, with the schema of a role: the processes of workers have tests of their own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.engine = target.engine()
        self._schemas: dict[str, Schema] = {}

    def schema(self, role: str | None = None) -> Schema:
        name = self.target.role if role is None else role
        if name not in self._schemas:
            self._schemas[name] = self.engine.describe(name)
        return self._schemas[name]

    def ask(self, query: Query) -> Answer:
        head, *batches, end = self.engine.query(query, self.schema(query.role))
        assert isinstance(head, Head)
        assert isinstance(end, End)
        return Answer(head, [row for batch in batches if isinstance(batch, list) for row in batch], end)

    def rows(self, text: str, *parameters: Value, role: str | None = None, seconds: float = 60.0) -> list[Row]:
        return self.ask(self.target.query(text, *parameters, role=role, seconds=seconds)).rows

    def plan(self, text: str) -> Iterator[object]:
        """Check and plan a query, without running it."""
        query = self.target.query(text)
        return iter(self.engine.query(replace(query, limits=replace(query.limits, max_rows=0)), self.schema()))


def worker_settings(target: str, roles: dict[str, dict[str, list[str]]]) -> WorkerSettings:
    return WorkerSettings(target, 0, 32 << 20, 96 << 20, 64 << 20, max_steps=50_000_000, max_cost=MAX_COST, roles=roles)


def sqlite_target(folder: Path) -> Target:
    path = folder / "target with a #.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES + HIDDEN)
    return Target(
        worker_settings(str(path), {"analyst": READABLE, "finance": {"payroll": ["*"]}}),
        str(path),
        "analyst",
        "finance",
    )


def postgres_target(url: str) -> Target:
    """Make a role that has no privilege but SELECT, as the engine's module requires."""
    superuser = url.replace("+psycopg", "")
    role, finance, password = f"analyst_{secrets.token_hex(4)}", f"finance_{secrets.token_hex(4)}", secrets.token_hex(8)
    names = {"role": Identifier(role), "finance": Identifier(finance), "password": Literal(password)}
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(TABLES + HIDDEN + POSTGRES_TABLES)
        for statement in GRANTS:
            connection.execute(SQL(statement).format(**names))
    address = url.rpartition("@")[2]
    settings = worker_settings(f"postgresql+psycopg://{role}:{password}@{address}", {finance: {}})
    return Target(settings, superuser, "", finance)
