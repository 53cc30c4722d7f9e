"""Schemas, the rules of queries, and results."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

BATCH_BYTES: Final = 256 * 1024
"""Approximate size up to which a message is filled with rows."""
BATCH_ROWS: Final = 2000
"""Rows of a message at most: a value is an object in the service, whatever its size."""
BATCH_SECONDS: Final = 0.1
"""Time after which a batch is passed on with the rows that it has."""
ROW_BYTES: Final = 2 * 1024 * 1024
"""Size limit of one row, which must fit into a message and into the memory of a worker."""

Value = None | bool | int | float | str | bytes
Row = tuple[Value, ...]


class Dialect(StrEnum):
    SQLITE = "sqlite"
    POSTGRESQL = "postgres"


class ColumnType(StrEnum):
    UNKNOWN = "unspecified"
    BOOL = "bool"
    INT64 = "int64"
    DOUBLE = "double"
    DECIMAL = "decimal"
    STRING = "string"
    BYTES = "bytes"
    DATE = "date"
    TIMESTAMP = "timestamp"
    OTHER = "other"


class Rule(StrEnum):
    """The rules of a query, as `QueryRule` in sql.proto describes them."""

    SYNTAX = "syntax"
    SINGLE_STATEMENT = "single_statement"
    READ_ONLY = "read_only"
    FUNCTION = "function"
    TABLE = "table"
    COMPLEXITY = "complexity"
    COST = "cost"
    PARAMETER = "parameter"
    ROLE = "role"
    METRIC = "metric"


class RuleBroken(ValueError):
    """The query breaks a rule."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Unanswerable(ValueError):
    """The database cannot answer the query as written; the message is the database's own."""


class LimitExceeded(Unanswerable):
    """The query needs more memory, temporary space or bytes of a row than it may use."""


class Stopped(Exception):
    """The query's time is over."""


class Unreachable(Exception):
    """The database does not answer."""


@dataclass(frozen=True)
class Column:
    """A column of a table. All names are quoted if a query has to quote them."""

    name: str
    type: ColumnType
    database_type: str
    nullable: bool


@dataclass(frozen=True)
class ForeignKey:
    columns: tuple[str, ...]
    referred_table: str
    referred_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table or a view."""

    location: tuple[str, str]
    """Its schema and its name, unquoted."""
    name: str
    view: bool
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    row_estimate: int | None
    comment: str

    def line(self) -> str:
        """Format the table as one line of a prompt."""
        columns = ", ".join(map(self._column, self.columns))
        if len(self.primary_key) > 1:
            columns += f", PRIMARY KEY ({', '.join(self.primary_key)})"
        references = "".join(
            f"; {', '.join(key.columns)} -> {key.referred_table}({', '.join(key.referred_columns)})"
            for key in self.foreign_keys
        )
        rows = f" ~{self.row_estimate} rows" if self.row_estimate is not None else ""
        comment = f" -- {' '.join(self.comment.split())}" if self.comment else ""
        return f"{'view' if self.view else 'table'} {self.name}({columns}){references}{rows}{comment}"

    def _column(self, column: Column) -> str:
        constraint = " PRIMARY KEY" * (self.primary_key == (column.name,)) or " NOT NULL" * (not column.nullable)
        return f"{column.name} {column.database_type}".rstrip() + constraint


@dataclass(frozen=True)
class Schema:
    """The tables that queries may read."""

    dialect: Dialect
    search_path: tuple[str, ...]
    """Schemas in which an unqualified name is resolved, in order."""
    tables: tuple[Table, ...]
    types: tuple[tuple[str, str], ...] = ()
    """Schema and name of the types that the database itself does not ship and that columns have: enums, domains."""

    def has(self, schema: str, name: str) -> bool:
        """Report whether a table is described. An empty `schema` resolves the name along the search path."""
        schemas = (schema,) if schema else self.search_path
        return any(table.location == (each, name) for each in schemas for table in self.tables)

    def only(self, names: Sequence[str]) -> "Schema":
        """Restrict to the named tables, in this order, ignoring unknown names; no names mean all tables."""
        by_name = {table.name: table for table in self.tables}
        chosen = tuple(by_name[name] for name in dict.fromkeys(names) if name in by_name)
        return replace(self, tables=chosen) if names else self

    def prompt_text(self) -> str:
        return "\n".join(table.line() for table in self.tables)


@dataclass(frozen=True)
class Limits:
    """What one query may take."""

    seconds: float
    max_rows: int
    """0: the query is checked and planned, and does not run; then there is a head only."""
    max_bytes: int
    """Size of the result, as `row_bytes` counts it."""


@dataclass(frozen=True)
class Query:
    text: str
    parameters: tuple[Value, ...]
    tenant: str
    role: str
    """The role of the warehouse whose tables and columns it may read; empty: the connection's own."""
    unless_version: str
    """Do not run if the data have this version: its result is known."""
    limits: Limits


@dataclass(frozen=True)
class ResultColumn:
    name: str
    type: ColumnType


@dataclass(frozen=True)
class Estimate:
    """What the planner expected before the query ran."""

    cost: float
    """PostgreSQL: planner units. SQLite: rows visited, from the sizes of the scanned tables."""
    rows: float | None
    """Rows of the result; SQLite's planner does not say."""
    plan: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """The beginning of a result."""

    columns: tuple[ResultColumn, ...]
    estimate: Estimate
    repeatable: bool
    """Whether the query gives the same result as long as the data are the same: no clock, no random numbers."""
    version: str
    """The version of the data; empty where it is not known."""


@dataclass(frozen=True)
class Unchanged:
    """The data still have the version `Query.unless_version`: the query has not run."""


class Truncation(StrEnum):
    """The limit at which a result was cut off."""

    NONE = "unspecified"
    ROWS = "rows"
    BYTES = "bytes"


@dataclass(frozen=True)
class End:
    """The end of a result."""

    row_count: int
    truncation: Truncation


ResultPart = Head | list[Row] | End | Unchanged
"""A result is its head, its rows in batches, and its end."""


def batches(rows: Iterator[Row], limits: Limits) -> Iterator[list[Row] | End]:
    """Group rows into batches that fit into a message, up to the limits, and yield the end.

    Raises:
        LimitExceeded: a row is too large for a message.
    """
    batch: list[Row] = []
    sent = filled = total = 0
    began = time.monotonic()
    truncation = Truncation.NONE
    for row in rows:
        if sent + len(batch) == limits.max_rows:
            truncation = Truncation.ROWS
            break
        size = row_bytes(row)
        if total + size > limits.max_bytes:
            truncation = Truncation.BYTES
            break
        total += size
        full = filled + size > BATCH_BYTES or len(batch) == BATCH_ROWS
        if batch and (full or time.monotonic() - began > BATCH_SECONDS):
            sent += len(batch)
            yield batch
            batch, filled, began = [], 0, time.monotonic()
        batch.append(row)
        filled += size
    if batch:
        sent += len(batch)
        yield batch
    yield End(sent, truncation)


def row_bytes(row: Row) -> int:
    """Estimate the bytes of a row on the wire: exact for text and bytes, an upper bound for other values.

    Raises:
        LimitExceeded: the row is too large for a message.
    """
    size = 0
    for value in row:
        if isinstance(value, str):
            size += 4 + (len(value) if value.isascii() else len(value.encode()))
        else:
            size += 4 + len(value) if isinstance(value, bytes) else 12
    if size > ROW_BYTES:
        raise LimitExceeded(TOO_LARGE_ROW)
    return size


TOO_LARGE_ROW: Final = f"a row has more than {ROW_BYTES} bytes: select less of it"
