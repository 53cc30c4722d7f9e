"""A warehouse in a SQLite file.

Three things keep a query from writing, each enough by itself: the file is opened read-only, `query_only` is set, and an
authorizer lets nothing compile but reads of described tables and calls of known functions.
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

STEPS_A_LOOK: Final = 10_000
"""How many of SQLite's instructions pass between two looks at the clock."""
VALUE_BYTES: Final = 1_000_000
"""The largest text or blob that a query may make or read."""
TABLE_FUNCTIONS: Final = ("json_each", "json_tree")

ROWS_TO_TELL_TYPES: Final = 100
"""How many rows are looked at for the types of the columns, since SQLite's columns have none."""
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
"""What a declared type has in it, and what it then is."""

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
        """A thread for each query: its connection meets no other, and what ends it waits for nobody."""
        budget = Budget(seconds, self._max_steps)
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-query")
        result = SqliteResult(thread, budget)
        try:
            await result.open(self._path, text)
            yield result
        finally:
            budget.cancelled = True
            thread.submit(result.close)
            thread.shutdown(wait=False)

    async def ping(self) -> None:
        await asyncio.to_thread(self._ping)

    def _describe(self) -> Schema:
        with translated(), closing(_connect(self._path)) as connection:
            tables = tuple(_table(connection, name, kind == "view") for name, kind in _names(connection))
        return Schema(Dialect.SQLITE, ("main",), tables)

    def _ping(self) -> None:
        with translated(), closing(_connect(self._path)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


class Budget:
    """What a query may still use up. SQLite asks again and again while it runs."""

    def __init__(self, seconds: float, steps: int) -> None:
        self._ends = time.monotonic() + seconds
        self._steps = steps
        self.cancelled = False

    def spend(self) -> bool:
        """Whether to stop; SQLite calls it every `STEPS_A_LOOK` instructions."""
        self._steps -= STEPS_A_LOOK
        return self.cancelled or self._steps < 0 or time.monotonic() >= self._ends

    def verdict(self) -> Exception:
        """Why it was stopped."""
        if self._steps < 0:
            return RuleBroken(Rule.COST, "the query is too much work for this database: read less, or join less")
        return DeadlineExceeded()


class SqliteResult:
    """A result, in the thread that its query runs in."""

    def __init__(self, thread: ThreadPoolExecutor, budget: Budget) -> None:
        self._thread = thread
        self._budget = budget
        self._connection: sqlite3.Connection | None = None
        self._rows: Iterator[Row] = iter(())
        self.columns: tuple[ResultColumn, ...] = ()

    async def open(self, path: Path, text: str) -> None:
        await self._in_thread(lambda: self._open(path, text))

    async def fetch(self, most: int) -> list[Row]:
        return await self._in_thread(lambda: list(islice(self._rows, most)))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        with translated(self._budget):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, path: Path, text: str) -> None:
        self._connection = _connect(path)
        _confine(self._connection, self._budget)
        cursor = self._connection.execute(text)
        first = list(islice(cursor, ROWS_TO_TELL_TYPES))
        self._rows = chain(first, cursor)
        self.columns = tuple(
            ResultColumn(name, _common_type(row[at] for row in first))
            for at, (name, *_) in enumerate(cursor.description)
        )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _confine(connection: sqlite3.Connection, budget: Budget) -> None:
    """Leave the connection nothing but to read what is described, within its budget."""
    readable = {name.lower() for name, _ in _names(connection)} | set(TABLE_FUNCTIONS)
    for function in TABLE_FUNCTIONS:  # Their first use declares them, which the authorizer would take for a write.
        connection.execute(f"SELECT 1 FROM {function}('[]')").close()
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                allowed = True
            case sqlite3.SQLITE_READ:  # No column: a count of rows, also of a WITH's, whose name it then has.
                allowed = not second or str(first).lower() in readable
            case sqlite3.SQLITE_FUNCTION:
                allowed = str(second).lower() in SQLITE_FUNCTIONS
            case _:
                allowed = False
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)
    connection.set_progress_handler(budget.spend, STEPS_A_LOOK)


class translated:
    """Turns SQLite's failures into ours."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sqlite3.Error | sqlite3.Warning):
            raise self._translation(error) from error

    def _translation(self, error: Exception) -> Exception:
        match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
            case ["INTERRUPT"] if self._budget is not None:
                return self._budget.verdict()
            case ["AUTH"]:
                return RuleBroken(Rule.READ_ONLY, f"the connection may only read described tables: {error}")
            case ["READONLY"]:
                return RuleBroken(Rule.READ_ONLY, "the connection may only read")
            case ["CANTOPEN" | "NOTADB" | "IOERR" | "BUSY" | "CORRUPT" | "LOCKED" | "PROTOCOL" | "NOMEM"]:
                return DatabaseUnavailable()
        return Unanswerable(str(error))


def _common_type(values: Iterable[Value]) -> ColumnType:
    """The type that all values have that are not NULL; whole numbers among others count as numbers."""
    types = {type(value) for value in values} - {type(None)}
    if types == {int, float}:
        return ColumnType.DOUBLE
    return VALUE_TYPES[types.pop()] if len(types) == 1 else ColumnType.UNKNOWN


def _names(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """The tables and views, by name; not those of SQLite itself, nor the shadows behind virtual tables."""
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    return [(name, kind) for name, kind in listed if kind in ("table", "view") and not name.startswith("sqlite_")]


def _table(connection: sqlite3.Connection, name: str, view: bool) -> Table:
    columns = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (name,)).fetchall()
    keys = sorted((pk, column) for column, _, _, pk in columns if pk)
    return Table(
        location=("main", name.lower()),
        name=_written(name),
        view=view,
        columns=tuple(
            Column(_written(column), _declared_type(kind), kind, nullable=not (required or pk))
            for column, kind, required, pk in columns
        ),
        primary_key=tuple(_written(column) for _, column in keys),
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
            columns=tuple(_written(own) for _, _, own, _ in rows),
            referred_table=_written(rows[0][1]),
            referred_columns=tuple(_written(other) for _, _, _, other in rows if other),
        )


def _row_estimate(connection: sqlite3.Connection, name: str) -> int | None:
    """The largest rowid, which costs nothing to find; a table without rowids has none."""
    quoted = name.replace('"', '""')
    try:
        return int(connection.execute(f'SELECT coalesce(max(rowid), 0) FROM "{quoted}"').fetchone()[0])
    except sqlite3.OperationalError:
        return None


def _declared_type(declared: str) -> ColumnType:
    """What the values of a column are by its declaration, by SQLite's own rules of affinity."""
    upper = declared.upper()
    return next((kind for part, kind in DECLARED_TYPES if part in upper), ColumnType.UNKNOWN)


def _written(name: str) -> str:
    """The name as a query has to write it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.upper() not in _KEYWORDS
    return name if plain else '"' + name.replace('"', '""') + '"'
