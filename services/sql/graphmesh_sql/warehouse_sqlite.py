"""A warehouse in a SQLite file.

Three measures prevent a query from writing, each sufficient by itself: the file is opened read-only, `query_only` is
set, and an authorizer allows only reads of described tables and calls of allowed functions.
"""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeVar

import sqlglot
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded

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
    Value,
)
from graphmesh_sql.functions import SQLITE_FUNCTIONS

STEPS_PER_CHECK: Final = 10_000
"""SQLite's virtual machine instructions between two calls of the progress handler, which checks the limits."""
VALUE_BYTES: Final = 1_000_000
"""Size limit of a text or blob that a query reads or computes."""
TABLE_FUNCTIONS: Final = ("json_each", "json_tree")

TYPE_SAMPLE_ROWS: Final = 100
"""Rows from which the types of a result's columns are inferred, because SQLite's columns have none."""
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

_KEYWORDS = frozenset(
    word for phrase in sqlglot.Dialect.get_or_raise("sqlite").tokenizer_class.KEYWORDS for word in phrase.split()
)

T = TypeVar("T")


class SqliteWarehouse:
    def __init__(self, path: Path, max_steps: int) -> None:
        self._path = path
        self._max_steps = max_steps

    async def describe(self) -> Schema:
        return await asyncio.to_thread(self._describe)

    @asynccontextmanager
    async def query(self, text: str, tenant: str, seconds: float) -> AsyncIterator["SqliteResult"]:
        """Run the query in a thread of its own, so that closing it does not block the caller."""
        limits = QueryLimits(seconds, self._max_steps)
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-query")
        result = SqliteResult(thread, limits)
        try:
            await result.open(self._path, text)
            yield result
        finally:
            limits.cancelled = True
            thread.submit(result.close)
            thread.shutdown(wait=False)

    async def ping(self) -> None:
        await asyncio.to_thread(self._ping)

    def _describe(self) -> Schema:
        with translate_errors(), closing(_connect(self._path)) as connection:
            tables = tuple(_table(connection, name, kind == "view") for name, kind in _names(connection))
        return Schema(Dialect.SQLITE, ("main",), tables)

    def _ping(self) -> None:
        with translate_errors(), closing(_connect(self._path)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


class QueryLimits:
    """Stops a query after a time, after a number of steps, or when it is cancelled."""

    def __init__(self, seconds: float, steps: int) -> None:
        self._ends_at = time.monotonic() + seconds
        self._steps_left = steps
        self.cancelled = False

    def on_progress(self) -> bool:
        """Return True to stop the query. SQLite calls it every `STEPS_PER_CHECK` instructions."""
        self._steps_left -= STEPS_PER_CHECK
        return self.cancelled or self._steps_left < 0 or time.monotonic() >= self._ends_at

    def error(self) -> Exception:
        """Return the error of a stopped query."""
        if self._steps_left < 0:
            return RuleBroken(Rule.COST, "the query is too expensive for this database: read less, or join less")
        return DeadlineExceeded()


class SqliteResult:
    """A result whose query runs in a thread of its own."""

    def __init__(self, thread: ThreadPoolExecutor, limits: QueryLimits) -> None:
        self._thread = thread
        self._limits = limits
        self._connection: sqlite3.Connection | None = None
        self._rows: Iterator[Row] = iter(())
        self.columns: tuple[ResultColumn, ...] = ()

    async def open(self, path: Path, text: str) -> None:
        await self._in_thread(lambda: self._open(path, text))

    async def fetch(self, max_rows: int) -> list[Row]:
        return await self._in_thread(lambda: list(islice(self._rows, max_rows)))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        with translate_errors(self._limits):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, path: Path, text: str) -> None:
        self._connection = _connect(path)
        _restrict(self._connection, self._limits)
        cursor = self._connection.execute(text)
        sample = list(islice(cursor, TYPE_SAMPLE_ROWS))
        self._rows = chain(sample, cursor)
        self.columns = tuple(
            ResultColumn(name, _common_type(row[index] for row in sample))
            for index, (name, *_) in enumerate(cursor.description)
        )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _restrict(connection: sqlite3.Connection, limits: QueryLimits) -> None:
    """Restrict the connection to reads of described tables, within the limits."""
    readable = {name.lower() for name, _ in _names(connection)} | set(TABLE_FUNCTIONS)
    for function in TABLE_FUNCTIONS:  # Their first use declares them, which the authorizer would see as a write.
        connection.execute(f"SELECT 1 FROM {function}('[]')").close()
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                allowed = True
            # An empty column name: only rows are counted, possibly those of a CTE, whose name is then the table's.
            case sqlite3.SQLITE_READ:
                allowed = not second or str(first).lower() in readable
            case sqlite3.SQLITE_FUNCTION:
                allowed = str(second).lower() in SQLITE_FUNCTIONS
            case _:
                allowed = False
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)
    connection.set_progress_handler(limits.on_progress, STEPS_PER_CHECK)


class translate_errors:
    """Translates SQLite's errors to those of the port."""

    def __init__(self, limits: QueryLimits | None = None) -> None:
        self._limits = limits

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sqlite3.Error | sqlite3.Warning):
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> Exception:
        match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
            case ["INTERRUPT"] if self._limits is not None:
                return self._limits.error()
            case ["AUTH"]:
                return RuleBroken(Rule.READ_ONLY, f"the connection may only read described tables: {error}")
            case ["READONLY"]:
                return RuleBroken(Rule.READ_ONLY, "the connection may only read")
            case ["CANTOPEN" | "NOTADB" | "IOERR" | "BUSY" | "CORRUPT" | "LOCKED" | "PROTOCOL" | "NOMEM"]:
                return DatabaseUnavailable()
        return Unanswerable(str(error))


def _common_type(values: Iterable[Value]) -> ColumnType:
    """Return the common type of the values that are not NULL; integers and floats together are DOUBLE."""
    types = {type(value) for value in values} - {type(None)}
    if types == {int, float}:
        return ColumnType.DOUBLE
    return VALUE_TYPES[types.pop()] if len(types) == 1 else ColumnType.UNKNOWN


def _names(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """List name and kind of the tables and views, without those of SQLite itself and shadow tables."""
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    return [(name, kind) for name, kind in listed if kind in ("table", "view") and not name.startswith("sqlite_")]


def _table(connection: sqlite3.Connection, name: str, view: bool) -> Table:
    columns = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (name,)).fetchall()
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
        foreign_keys=tuple(_foreign_keys(connection, name)),
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
    quoted = name.replace('"', '""')
    try:
        return int(connection.execute(f'SELECT coalesce(max(rowid), 0) FROM "{quoted}"').fetchone()[0])
    except sqlite3.OperationalError:
        return None


def _declared_type(declared: str) -> ColumnType:
    """Return the type of a column by its declared type, similar to SQLite's rules of affinity."""
    upper = declared.upper()
    return next((kind for part, kind in DECLARED_TYPES if part in upper), ColumnType.UNKNOWN)


def _quoted(name: str) -> str:
    """Quote the name if a query has to quote it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.upper() not in _KEYWORDS
    return name if plain else '"' + name.replace('"', '""') + '"'
