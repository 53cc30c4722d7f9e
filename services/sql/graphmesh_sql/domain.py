"""Schemas, the rules of queries, and results."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

BATCH_BYTES: Final = 256 * 1024
"""Approximate size up to which a message is filled with rows."""
ROW_BYTES: Final = 4 * 1024 * 1024
"""Size limit of one row, which must fit into a message."""

Value = None | bool | int | float | str | bytes
Row = tuple[Value, ...]


class Dialect(StrEnum):
    """The SQL dialect, by sqlglot's names."""

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
    SELECT_ONLY = "select_only"
    READ_ONLY = "read_only"
    FUNCTION = "function"
    TABLE = "table"
    COMPLEXITY = "complexity"
    COST = "cost"
    PARAMETER = "parameter"


class RuleBroken(ValueError):
    """The query breaks a rule."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Unanswerable(ValueError):
    """The database cannot answer the query as written; the message is the database's own."""


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
class ResultColumn:
    name: str
    type: ColumnType


@dataclass(frozen=True)
class Summary:
    """The end of a result."""

    row_count: int
    truncated: bool
    """Whether there were more rows than the limit."""
    seconds: float


ResultPart = tuple[ResultColumn, ...] | list[Row] | Summary
"""A result is sent as its columns, its rows in batches, and its summary."""


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Group rows into batches that fit into a message.

    Raises:
        Unanswerable: a row is too large for a message.
    """
    batch: list[Row] = []
    filled = 0
    for row in rows:
        size = sum(_size(value) for value in row)
        if size > ROW_BYTES:
            raise Unanswerable(f"a row has more than {ROW_BYTES} bytes: select less of it")
        if batch and filled + size > BATCH_BYTES:
            yield batch
            batch, filled = [], 0
        batch.append(row)
        filled += size
    if batch:
        yield batch


def _size(value: Value) -> int:
    """Estimate the bytes of a value on the wire: exact for text and bytes, an upper bound for other values."""
    if isinstance(value, str):
        return 4 + (len(value) if value.isascii() else len(value.encode()))
    return 4 + len(value) if isinstance(value, bytes) else 12
