"""A warehouse in PostgreSQL.

Three measures prevent a query from writing: the transaction is READ ONLY, the query is declared as a cursor, which
accepts only a SELECT, and the role of the URL should have no privilege but SELECT on the tables that it may read:

    CREATE ROLE analyst LOGIN PASSWORD '…';
    GRANT USAGE ON SCHEMA public TO analyst;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst;

A connection serves one query, so that no session state of a query is left for the next.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Protocol, TypeVar

import psycopg
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded
from psycopg import AsyncConnection, AsyncServerCursor
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap
from psycopg.rows import class_row
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
"""By PostgreSQL's name of the type; values of all other types are sent as text."""
NATIVE_TYPES: Final = {ColumnType.BOOL, ColumnType.INT64, ColumnType.DOUBLE, ColumnType.BYTES}
"""Types whose values are not sent as text."""

SESSION_QUERY: Final = """
    SELECT set_config('statement_timeout', %(milliseconds)s, true), set_config('graphmesh.tenant', %(tenant)s, true),
           set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true)
"""
RELATIONS_QUERY: Final = """
    SELECT c.oid, n.nspname AS namespace, c.relname AS name, c.relkind IN ('v', 'm') AS view,
           CASE WHEN n.nspname = ANY (current_schemas(false)) THEN quote_ident(c.relname)
                ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS quoted_name,
           CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN c.reltuples::bigint END AS row_estimate,
           coalesce(obj_description(c.oid, 'pg_class'), '') AS comment
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY quoted_name
"""
COLUMNS_QUERY: Final = """
    SELECT a.attrelid AS oid, quote_ident(a.attname) AS name, t.typname AS type,
           format_type(a.atttypid, a.atttypmod) AS database_type, NOT a.attnotnull AS nullable
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = ANY (%(relations)s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""
KEYS_QUERY: Final = """
    SELECT k.conrelid AS oid, k.contype = 'p' AS primary, k.confrelid AS referred,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, position)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
                  ORDER BY u.position)::text[] AS columns,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, position)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
                  ORDER BY u.position)::text[] AS referred_columns
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = ANY (%(relations)s) AND k.contype IN ('p', 'f')
    ORDER BY k.conrelid, k.conname
"""


@dataclass(frozen=True)
class RelationRow:
    """A row of RELATIONS_QUERY."""

    oid: int
    namespace: str
    name: str
    view: bool
    quoted_name: str
    row_estimate: int | None
    comment: str


@dataclass(frozen=True)
class ColumnRow:
    """A row of COLUMNS_QUERY."""

    oid: int
    name: str
    type: str
    database_type: str
    nullable: bool


@dataclass(frozen=True)
class KeyRow:
    """A row of KEYS_QUERY: a primary key, or a foreign key to the relation `referred`."""

    oid: int
    primary: bool
    referred: int
    columns: list[str]
    referred_columns: list[str]


@dataclass(frozen=True)
class SearchPathRow:
    schemas: list[str]


class HasOid(Protocol):
    @property
    def oid(self) -> int: ...


RowT = TypeVar("RowT")
OidRowT = TypeVar("OidRowT", bound=HasOid)


class PostgresWarehouse:
    def __init__(self, url: str, max_cost: float) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._max_cost = max_cost

    async def describe(self) -> Schema:
        async with self._read_only_transaction(DESCRIBE_SECONDS) as connection:
            relations = await _rows(connection, RelationRow, RELATIONS_QUERY)
            oids = [relation.oid for relation in relations]
            columns = _by_oid(await _rows(connection, ColumnRow, COLUMNS_QUERY, relations=oids))
            keys = _by_oid(await _rows(connection, KeyRow, KEYS_QUERY, relations=oids))
            (path,) = await _rows(connection, SearchPathRow, "SELECT current_schemas(false)::text[] AS schemas")
        names = {relation.oid: relation.quoted_name for relation in relations}
        tables = (
            _table(relation, columns.get(relation.oid, []), keys.get(relation.oid, []), names) for relation in relations
        )
        return Schema(Dialect.POSTGRESQL, tuple(path.schemas), tuple(tables))

    @asynccontextmanager
    async def query(self, text: str, tenant: str, seconds: float) -> AsyncIterator["PostgresResult"]:
        async with self._read_only_transaction(seconds, tenant, TextLoaders()) as connection:
            await self._check_cost(connection, text)
            async with connection.cursor("query") as cursor:
                await cursor.execute(text)
                yield PostgresResult(cursor)

    async def ping(self) -> None:
        async with self._read_only_transaction(PING_SECONDS):
            return

    async def _check_cost(self, connection: AsyncConnection[Any], text: str) -> None:
        """Binary results: the driver then sends one statement only, and gives it no name.

        A name would stay in a session that a connection pooler gives to the next query, which would fail.
        """
        plan = await (await connection.execute(f"EXPLAIN (FORMAT JSON) {text}", binary=True)).fetchone()
        cost = plan[0][0]["Plan"]["Total Cost"] if plan else 0.0
        if cost > self._max_cost:
            raise RuleBroken(
                Rule.COST,
                f"the planner expects a cost of {cost:.0f}, the limit is {self._max_cost:.0f}: read less, or join less",
            )

    @asynccontextmanager
    async def _read_only_transaction(
        self, seconds: float, tenant: str = "", values: AdaptContext | None = None
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """Open a connection with a read-only transaction, and `seconds` as the timeout of each statement."""
        with translate_errors():
            connection = await AsyncConnection.connect(
                self._url, context=values, connect_timeout=CONNECT_SECONDS, application_name="graphmesh-sql"
            )
            async with connection:
                await connection.set_read_only(True)
                await connection.execute(
                    SESSION_QUERY, {"milliseconds": str(max(1, round(seconds * 1000))), "tenant": tenant}
                )
                yield connection


class PostgresResult:
    """A result that the server's cursor produces on demand."""

    def __init__(self, cursor: AsyncServerCursor[Any]) -> None:
        self._cursor = cursor
        self.columns = tuple(
            ResultColumn(column.name, TYPES.get(_type_name(column.type_code), ColumnType.OTHER))
            for column in cursor.description or ()
        )

    async def fetch(self, max_rows: int) -> list[Row]:
        with translate_errors():
            return await self._cursor.fetchmany(max_rows)


class TextLoaders:
    """Loads values as text, except for those that have a type of their own in sql.proto."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)

    for _type in psycopg.adapters.types:
        if TYPES.get(_type.name) not in NATIVE_TYPES:
            adapters.register_loader(_type.oid, TextLoader)
        if _type.array_oid:
            adapters.register_loader(_type.array_oid, TextLoader)


class translate_errors:
    """Translates PostgreSQL's errors to those of the port."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, psycopg.Error):
            raise _translate(error) from error


def _translate(error: psycopg.Error) -> Exception:
    """Translate by SQLSTATE. Only messages about the query itself are passed on."""
    state, message = error.sqlstate or "", error.diag.message_primary or ""
    if state == "57014":
        return DeadlineExceeded()
    if state in ("25006", "42501"):  # A write in a read-only transaction; a privilege that the role does not have.
        return RuleBroken(Rule.READ_ONLY, f"the connection may only read described tables: {message}")
    if state[:2] in ("0A", "20", "21", "22", "2F", "38", "39", "42", "44", "54", "P0"):
        return Unanswerable(message)
    return DatabaseUnavailable()


async def _rows(connection: AsyncConnection[Any], row: type[RowT], query: str, **values: object) -> list[RowT]:
    cursor = connection.cursor(row_factory=class_row(row))
    return await (await cursor.execute(query, values)).fetchall()


def _table(relation: RelationRow, columns: list[ColumnRow], keys: list[KeyRow], names: dict[int, str]) -> Table:
    return Table(
        location=(relation.namespace, relation.name),
        name=relation.quoted_name,
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


def _by_oid(rows: list[OidRowT]) -> dict[int, list[OidRowT]]:
    """Group rows that are ordered by oid."""
    return {oid: list(group) for oid, group in groupby(rows, key=attrgetter("oid"))}


def _type_name(oid: int) -> str:
    info = psycopg.adapters.types.get(oid)
    return info.name if info else ""
