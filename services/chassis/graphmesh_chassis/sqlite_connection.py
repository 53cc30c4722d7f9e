"""SQLite connections whose statements each take one switch to the connection's thread and back.

A transaction takes one more, for its commit. Each switch needs Python's lock twice, for which the threads and a busy
event loop compete.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import aiosqlite


class SqliteConnection(aiosqlite.Connection):
    """A connection of aiosqlite, which itself takes four switches for a cursor, its statement, its rows and its end."""

    _begin = ""
    """The statement that begins the transaction, until the next function is called."""

    def cursor(self) -> Any:
        return StatementCursor(self)

    def begin(self, statement: str) -> None:
        """Begin a transaction with its first statement, in the same switch."""
        self._begin = statement

    async def commit(self) -> None:
        if self._begin:
            self._begin = ""
        else:
            await super().commit()

    async def rollback(self) -> None:
        """Do nothing where there is no transaction, as in most connections that are returned to the pool.

        A connection that still executes a statement, whose task was cancelled, is not returned to it.
        """
        self._begin = ""
        if self.in_transaction:
            await super().rollback()

    async def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function in the connection's thread."""
        return await self._execute(function, *arguments)

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        begin, self._begin = self._begin, ""
        return await super()._execute(self._in_thread, begin, fn, *args, **kwargs)  # type: ignore[no-untyped-call]

    def _in_thread(self, begin: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if begin:
            self._conn.execute(begin)
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
        await self._connection.call(self._run, self._connection._conn.executemany, sql, parameters)
        return self

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


def connect(path: str) -> SqliteConnection:
    """Return a connection that is opened when it is awaited, in a daemon thread."""
    connection = SqliteConnection(partial(sqlite3.connect, path), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection
