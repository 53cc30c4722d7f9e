"""Single statements of PostgreSQL: each a transaction of its own, and one round trip."""

import asyncio
import select
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from graphmesh_chassis.errors import DatabaseUnavailable

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Alone:
    """A connection that one writer keeps for its statements, besides those of the pool.

    A statement costs a quarter of what it does through SQLAlchemy and its pool. Whoever comes while one is under way
    waits for it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def execute(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Store a statement as a whole or not at all; returns its rows.

        The database is not told how much of the call's time is left: the end of that cancels whoever waits here, and so
        the statement.

        Args:
            statement: in the driver's own words, compiled once; one that returns rows.
            parameters: as the driver takes them.

        Raises:
            DatabaseUnavailable: the database does not answer. The statement may have been stored.
            DBAPIError: of SQLAlchemy; the statement itself fails.
        """
        async with self._turn:
            connection = await self._opened()
            try:
                cursor = await connection.execute(statement, parameters, prepare=True)
                return await cursor.fetchall()
            except psycopg.Error as error:
                if connection.closed:
                    raise DatabaseUnavailable() from error
                raise DBAPIError(None, None, error, hide_parameters=True) from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _opened(self) -> Connection:
        """The connection; a new one, where the server has ended it meanwhile."""
        if self._connection is None or self._connection.closed or _has_news(self._connection):
            await self.close()
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> Connection:
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        try:
            return await psycopg.AsyncConnection.connect(*arguments, **options, autocommit=True)
        except (psycopg.Error, OSError) as error:
            raise DatabaseUnavailable() from error


def _has_news(connection: Connection) -> bool:
    """Whether the server has said something unasked: that it ends the connection."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
