"""A warehouse in PostgreSQL.

Three things keep a query from writing: the transaction is READ ONLY, the query is declared as a cursor, which takes
nothing but a SELECT, and the role of the URL should have no right but SELECT on what it may see (H6):

    CREATE ROLE analyst LOGIN PASSWORD '…';
    GRANT USAGE ON SCHEMA public TO analyst;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst;

A connection serves one query, so nothing of a query is left for the next.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import psycopg
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded
from psycopg import AsyncConnection, AsyncServerCursor
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap
from psycopg.rows import namedtuple_row
from psycopg.types.string import TextLoader

from graphmesh_sql.domain import (
    Column,
    ColumnType,
    Dialect,
    ForeignKey,
    ResultColumn,
    Row,
    Rule,
    RuleBroken,
    Schema,
    Table,
    Unanswerable,
)

CONNECT_SECONDS: Final = 5
DESCRIBE_SECONDS: Final = 8.0
PING_SECONDS: Final = 2.0

TYPES: Final = {
    "bool": ColumnType.BOOL,
    **dict.fromkeys(("int2", "int4", "int8", "oid"), ColumnType.INT64),
    **dict.fromkeys(("float4", "float8"), ColumnType.DOUBLE),
    "numeric": ColumnType.DECIMAL,
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "char"), ColumnType.STRING),
    "bytea": ColumnType.BYTES,
    "date": ColumnType.DATE,
    **dict.fromkeys(("timestamp", "timestamptz"), ColumnType.TIMESTAMP),
}
"""By PostgreSQL's name; every other is sent as text."""
TYPED: Final = {ColumnType.BOOL, ColumnType.INT64, ColumnType.DOUBLE, ColumnType.BYTES}
"""What is sent as something else than text."""

SESSION: Final = """
    SELECT set_config('statement_timeout', %(milliseconds)s, true), set_config('graphmesh.tenant', %(tenant)s, true),
           set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true)
"""
RELATIONS: Final = """
    SELECT c.oid, n.nspname AS place, c.relname AS name, c.relkind IN ('v', 'm') AS view,
           CASE WHEN n.nspname = ANY (current_schemas(false)) THEN quote_ident(c.relname)
                ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS written,
           CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN c.reltuples::bigint END AS row_estimate,
           coalesce(obj_description(c.oid, 'pg_class'), '') AS comment
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY written
"""
COLUMNS: Final = """
    SELECT a.attrelid AS oid, quote_ident(a.attname) AS name, t.typname AS type,
           format_type(a.atttypid, a.atttypmod) AS database_type, NOT a.attnotnull AS nullable
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = ANY (%(relations)s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""
KEYS: Final = """
    SELECT k.conrelid AS oid, k.contype = 'p' AS primary, k.confrelid AS referred,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
                  ORDER BY u.place)::text[] AS columns,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
                  ORDER BY u.place)::text[] AS referred_columns
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = ANY (%(relations)s) AND k.contype IN ('p', 'f')
    ORDER BY k.conrelid, k.conname
"""


class PostgresWarehouse:
    def __init__(self, url: str, max_cost: float) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._max_cost = max_cost

    async def describe(self) -> Schema:
        async with self._reading(DESCRIBE_SECONDS) as connection:
            relations = await _rows(connection, RELATIONS)
            of = [relation.oid for relation in relations]
            columns = _by_oid(await _rows(connection, COLUMNS, relations=of))
            keys = _by_oid(await _rows(connection, KEYS, relations=of))
            (path,) = await _rows(connection, "SELECT current_schemas(false)::text[] AS schemas")
        names = {relation.oid: relation.written for relation in relations}
        tables = (
            _table(relation, columns.get(relation.oid, []), keys.get(relation.oid, []), names) for relation in relations
        )
        return Schema(Dialect.POSTGRESQL, tuple(path.schemas), tuple(tables))

    @asynccontextmanager
    async def query(self, text: str, tenant: str, seconds: float) -> AsyncIterator["PostgresResult"]:
        async with self._reading(seconds, tenant, AsText()) as connection:
            await self._check_cost(connection, text)
            async with connection.cursor("query") as cursor:
                await cursor.execute(text)
                yield PostgresResult(cursor)

    async def ping(self) -> None:
        async with self._reading(PING_SECONDS):
            return

    async def _check_cost(self, connection: AsyncConnection[Any], text: str) -> None:
        plan = await (await connection.execute(f"EXPLAIN (FORMAT JSON) {text}", prepare=True)).fetchone()
        cost = json.loads(plan[0])[0]["Plan"]["Total Cost"] if plan else 0.0
        if cost > self._max_cost:
            raise RuleBroken(
                Rule.COST,
                f"the planner expects a cost of {cost:.0f}, the most is {self._max_cost:.0f}: read less, or join less",
            )

    @asynccontextmanager
    async def _reading(
        self, seconds: float, tenant: str = "", values: AdaptContext | None = None
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection in a read-only transaction, with `seconds` for each statement."""
        with translated():
            connection = await AsyncConnection.connect(
                self._url, context=values, connect_timeout=CONNECT_SECONDS, application_name="graphmesh-sql"
            )
            async with connection:
                await connection.set_read_only(True)
                await connection.execute(
                    SESSION, {"milliseconds": str(max(1, round(seconds * 1000))), "tenant": tenant}
                )
                yield connection


class PostgresResult:
    """A result that the server holds back until it is asked for."""

    def __init__(self, cursor: AsyncServerCursor[Any]) -> None:
        self._cursor = cursor
        self.columns = tuple(
            ResultColumn(column.name, TYPES.get(_type_name(column.type_code), ColumnType.OTHER))
            for column in cursor.description or ()
        )

    async def fetch(self, most: int) -> list[Row]:
        with translated():
            return await self._cursor.fetchmany(most)


class AsText:
    """How values are read: as text, but for those that have a type of their own in sql.proto."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)

    for _type in psycopg.adapters.types:
        if TYPES.get(_type.name) not in TYPED:
            adapters.register_loader(_type.oid, TextLoader)
        if _type.array_oid:
            adapters.register_loader(_type.array_oid, TextLoader)


class translated:
    """Turns PostgreSQL's failures into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, psycopg.Error):
            raise _translation(error) from error


def _translation(error: psycopg.Error) -> Exception:
    """By SQLSTATE. What is wrong with a query has a message that is about the query; other messages stay here."""
    state, message = error.sqlstate or "", error.diag.message_primary or ""
    if state == "57014":
        return DeadlineExceeded()
    if state in ("25006", "42501"):  # A write in a read-only transaction; a right that the role does not have.
        return RuleBroken(Rule.READ_ONLY, f"the connection may only read described tables: {message}")
    if state[:2] in ("0A", "20", "21", "22", "2F", "38", "39", "42", "44", "54", "P0"):
        return Unanswerable(message)
    return DatabaseUnavailable()


async def _rows(connection: AsyncConnection[Any], query: str, **values: object) -> list[Any]:
    cursor = connection.cursor(row_factory=namedtuple_row)
    return list(await (await cursor.execute(query, values)).fetchall())


def _table(relation: Any, columns: list[Any], keys: list[Any], names: dict[int, str]) -> Table:
    return Table(
        location=(relation.place, relation.name),
        name=relation.written,
        view=relation.view,
        columns=tuple(
            Column(column.name, TYPES.get(column.type, ColumnType.OTHER), column.database_type, column.nullable)
            for column in columns
        ),
        primary_key=tuple(name for key in keys if key.primary for name in key.columns),
        foreign_keys=tuple(
            ForeignKey(tuple(key.columns), names[key.referred], tuple(key.referred_columns))
            for key in keys
            if key.referred in names
        ),
        row_estimate=relation.row_estimate,
        comment=relation.comment,
    )


def _by_oid(rows: list[Any]) -> dict[int, list[Any]]:
    return {oid: list(group) for oid, group in groupby(rows, key=attrgetter("oid"))}


def _type_name(oid: int) -> str:
    info = psycopg.adapters.types.get(oid)
    return info.name if info else ""
