"""Reads the schema of a SQLite file: what is described, and what a role may read."""

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from graphmesh_sql.domain import Column, ColumnType, Dialect, ForeignKey, Schema, Table, Value

VALUE_TYPES: Final = {
    int: ColumnType.INT64,
    float: ColumnType.DOUBLE,
    str: ColumnType.STRING,
    bytes: ColumnType.BYTES,
}
DECLARED_TYPES: Final = (
    ("INT", ColumnType.INT64),
    ("BOOL", ColumnType.INT64),
    *((part, ColumnType.STRING) for part in ("CHAR", "CLOB", "TEXT")),
    ("BLOB", ColumnType.BYTES),
    *((part, ColumnType.DOUBLE) for part in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")),
    *((part, ColumnType.TIMESTAMP) for part in ("DATETIME", "TIMESTAMP")),
    ("DATE", ColumnType.DATE),
)
"""Column types by a part of the declared type; the first match counts."""

TABLE_FUNCTIONS: Final = frozenset(("json_each", "json_tree"))

_WORDS = """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade case
    cast check collate column commit conflict constraint create cross current current_date current_time
    current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end escape
    except exclude exclusive exists explain fail filter first following for foreign from full generated glob group
    groups having if ignore immediate in index indexed initially inner insert instead intersect into is isnull join key
    last left like limit match materialized natural no not nothing notnull null nulls of offset on or order others outer
    over partition plan pragma preceding primary query raise range recursive references regexp reindex release rename
    replace restrict returning right rollback row rows savepoint select set table temp temporary then ties to
    transaction trigger unbounded union unique update using vacuum values view virtual when where window with within
    without
"""
KEYWORDS: Final = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Readable:
    """What a role may read."""

    tables: dict[str, tuple[str, ...]]
    """The columns of each table and view, by its name as it was declared."""
    kinds: dict[str, str]
    """`table` or `view`."""
    all_views: frozenset[str]
    """The names of all views of the file, in lower case."""
    restricted: bool
    """Whether there is more in the file."""


def readable(connection: sqlite3.Connection, role: dict[str, list[str]] | None) -> Readable:
    """Return the tables and views, without those of SQLite itself and shadow tables, as far as `role` may read them.

    Args:
        role: the columns that may be read by table; `*` stands for all; None: everything may be read.
    """
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    kinds = {name: kind for name, kind in listed if kind in ("table", "view") and not name.startswith("sqlite_")}
    columns = {name: _column_names(connection, name) for name in kinds}
    views = frozenset(name.lower() for name, kind in kinds.items() if kind == "view")
    if role is None:
        return Readable(columns, kinds, views, restricted=False)
    allowed = {table.lower(): {column.lower() for column in names} for table, names in role.items()}
    chosen = {
        name: tuple(column for column in names if allowed[name.lower()] & {"*", column.lower()})
        for name, names in columns.items()
        if name.lower() in allowed
    }
    return Readable({name: names for name, names in chosen.items() if names}, kinds, views, restricted=True)


def scratch_database(allowed: Readable) -> sqlite3.Connection:
    """Make an empty database in memory in which only what may be read has a name."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table, columns in allowed.tables.items():
        connection.execute(f"CREATE TABLE {_always_quoted(table)} ({', '.join(map(_always_quoted, columns))})")
    declare_table_functions(connection)
    return connection


def declare_table_functions(connection: sqlite3.Connection) -> None:
    """Call each allowed table function: the first use declares it, which the authorizer would see as a write."""
    for function in TABLE_FUNCTIONS:
        connection.execute(f"SELECT 1 FROM {function}('[]')").close()


def describe(connection: sqlite3.Connection, allowed: Readable) -> Schema:
    tables = tuple(
        _table(connection, name, allowed.kinds[name] == "view", columns) for name, columns in allowed.tables.items()
    )
    return Schema(Dialect.SQLITE, ("main",), tables)


def common_type(values: Iterable[Value]) -> ColumnType:
    """Return the common type of the values that are not NULL; integers and floats together are DOUBLE."""
    types = {type(value) for value in values} - {type(None)}
    if types == {int, float}:
        return ColumnType.DOUBLE
    return VALUE_TYPES[types.pop()] if len(types) == 1 else ColumnType.UNKNOWN


def data_version(path: Path) -> str:
    """Return a version of the file that each commit changes; empty where a commit is so recent that it might not.

    The change counter of the header counts commits; those of a write-ahead log change the log, whose time is as exact
    as the clock of the file system.
    """
    parts = []
    for file, header in ((path, slice(24, 28)), (path.with_name(f"{path.name}-wal"), slice(0, 32))):
        try:
            with file.open("rb") as opened:
                beginning, status = opened.read(32), os.fstat(opened.fileno())
        except FileNotFoundError:
            continue
        if time.time_ns() - status.st_mtime_ns < CLOCK_TICK_NS:
            return ""
        parts.append(f"{beginning[header].hex()}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")
    return " ".join(parts)


CLOCK_TICK_NS: Final = 50_000_000
"""Two writes within this time may leave the same time of change."""


def _column_names(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    listed = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (name,))
    return tuple(column for (column,) in listed)


def _table(connection: sqlite3.Connection, name: str, view: bool, allowed: tuple[str, ...]) -> Table:
    listed = connection.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1', (name,)
    ).fetchall()
    columns = [row for row in listed if row[0] in allowed]
    keys = sorted((pk, column) for column, _, _, pk in columns if pk)
    return Table(
        location=("main", name.lower()),
        name=_quoted(name),
        view=view,
        columns=tuple(
            Column(_quoted(column), _declared_type(kind), kind, nullable=not (required or pk))
            for column, kind, required, pk in columns
        ),
        primary_key=tuple(_quoted(column) for _, column in keys),
        foreign_keys=tuple(
            key for key in _foreign_keys(connection, name) if set(key.columns) <= set(map(_quoted, allowed))
        ),
        row_estimate=None if view else _row_estimate(connection, name),
        comment="",
    )


def _foreign_keys(connection: sqlite3.Connection, name: str) -> Iterator[ForeignKey]:
    listed = connection.execute(
        'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', (name,)
    ).fetchall()
    for _, group in groupby(listed, key=itemgetter(0)):
        rows = list(group)
        yield ForeignKey(
            columns=tuple(_quoted(own) for _, _, own, _ in rows),
            referred_table=_quoted(rows[0][1]),
            referred_columns=tuple(_quoted(other) for _, _, _, other in rows if other),
        )


def _row_estimate(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the largest rowid, which is cheap to find; None for a table WITHOUT ROWID."""
    try:
        found = connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {_always_quoted(name)}").fetchone()[0]
    except sqlite3.OperationalError:
        return None
    return found if isinstance(found, int) else None


def _declared_type(declared: str) -> ColumnType:
    """Return the type of a column by its declared type, similar to SQLite's rules of affinity."""
    upper = declared.upper()
    return next((kind for part, kind in DECLARED_TYPES if part in upper), ColumnType.UNKNOWN)


def _quoted(name: str) -> str:
    """Quote the name if a query has to quote it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in KEYWORDS
    return name if plain else _always_quoted(name)


def _always_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
