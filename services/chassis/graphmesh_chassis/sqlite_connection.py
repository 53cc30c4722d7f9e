"""SQLite connections whose statements each take one switch to the connection's thread and back."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import aiosqlite


class SqliteConnection(aiosqlite.Connection):
    """A connection of aiosqlite, which itself takes four switches: for a cursor, its statement, its rows and its end.

    Each switch needs Python's lock twice, for which the threads and a busy event loop compete.
    """

    def cursor(self) -> Any:
        return StatementCursor(self)

    async def call(self, function: Any, *arguments: Any) -> Any:
        """Call a function in the connection's thread."""
        return await self._execute(function, *arguments)  # type: ignore[no-untyped-call]


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
