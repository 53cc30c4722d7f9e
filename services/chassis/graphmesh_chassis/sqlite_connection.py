"""SQLite connections whose statements each take one switch to the connection's thread and back.

A transaction takes one more, for its commit; deferred statements take none. Each switch needs Python's lock twice, for
which the threads and a busy event loop compete.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

import aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

VALUES = re.compile(r"^INSERT [^?]* VALUES (\(\?(?:, \?)*\))")
"""The part of an INSERT that there may be several of: values that are all parameters."""
MAX_PARAMETERS = 30_000
"""Parameters of a statement; SQLite's limit is 32,766."""


class SqliteConnection(aiosqlite.Connection):
    """A connection of aiosqlite, which itself takes four switches for a cursor, its statement, its rows and its end."""

    is_deferring = False
    """Whether statements are executed with the next one that is not deferred, or with the commit."""
    _begin = ""
    """The statement that begins the transaction, until the next function is called."""
    _deferred: Sequence[Callable[[], Any]] = ()

    def cursor(self) -> Any:
        return StatementCursor(self)

    def begin(self, statement: str) -> None:
        """Begin a transaction with its first statement, in the same switch."""
        self._begin = statement

    async def commit(self) -> None:
        if self._begin and not self._deferred:
            self._begin = ""
        else:
            await super().commit()

    async def rollback(self) -> None:
        """Do nothing where there is no transaction, as in most connections that are returned to the pool.

        A connection that still executes a statement, whose task was cancelled, is not returned to it.
        """
        self._begin, self._deferred = "", ()
        if self.in_transaction:
            await super().rollback()

    async def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function in the connection's thread."""
        if self.is_deferring:
            self._deferred = [*self._deferred, partial(function, *arguments)]
            return None
        return await self._execute(function, *arguments)

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        before: list[Callable[[], Any]] = [partial(self._conn.execute, self._begin)] if self._begin else []
        before += self._deferred
        self._begin, self._deferred = "", ()
        return await super()._execute(self._in_thread, before, fn, *args, **kwargs)  # type: ignore[no-untyped-call]

    def _in_thread(self, before: Sequence[Callable[[], Any]], function: Any, *args: Any, **kwargs: Any) -> Any:
        for each in before:
            each()
        return function(*args, **kwargs)


class StatementCursor:
    """The cursor of one statement at a time, with all its rows: the part of aiosqlite's that SQLAlchemy uses."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "StatementCursor":
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "StatementCursor":
        await self._connection.call(self._run, self._connection._conn.execute, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> "StatementCursor":
        """Execute a statement for several rows: as one where it inserts them, since each row would take the lock."""
        rows = list(parameters)
        if (values := VALUES.search(sql)) is None or sum(map(len, rows)) > MAX_PARAMETERS:
            await self._connection.call(self._run, self._connection._conn.executemany, sql, rows)
            return self
        inserts = sql[: values.start(1)] + ", ".join([values[1]] * len(rows)) + sql[values.end(1) :]
        return await self.execute(inserts, list(chain.from_iterable(rows)))

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Do nothing: a statement is closed when it has been executed."""

    def _run(self, execute: Any, sql: str, parameters: Any) -> None:
        cursor: sqlite3.Cursor = execute(sql, parameters)
        self.description, self.lastrowid = cursor.description, cursor.lastrowid
        self._rows = cursor.fetchall() if self.description else []
        self.rowcount = cursor.rowcount
        cursor.close()


@contextmanager
def deferred(connection: AsyncConnection) -> Iterator[None]:
    """Execute the statements of the body on SQLite with the next one after it, or with the commit, in one switch.

    They have no results. An error of one is raised where they are executed.
    """
    pooled: Any = connection.sync_connection
    driver = pooled.connection.driver_connection
    if not isinstance(driver, SqliteConnection):
        yield
        return
    driver.is_deferring = True
    try:
        yield
    finally:
        driver.is_deferring = False


def connect(path: str) -> SqliteConnection:
    """Return a connection that is opened when it is awaited, in a daemon thread."""
    connection = SqliteConnection(partial(sqlite3.connect, path), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection
