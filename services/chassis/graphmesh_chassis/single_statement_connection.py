"""A PostgreSQL connection for single statements: each is a transaction of its own and takes one round trip."""

import asyncio
import select
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.postgresql_connection import PostgresqlConnection


class SingleStatementConnection:
    """A connection outside of the pool, for one writer's statements; concurrent statements wait for each other.

    A statement costs a quarter of its cost through SQLAlchemy and its pool.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()
        self._connection: PostgresqlConnection | None = None

    async def execute(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute a statement atomically; returns its rows.

        The deadline of the current call sets no statement timeout. It cancels the waiting task, and so the statement.

        Args:
            statement: SQL in the driver's parameter style, which returns rows. The server prepares it once.
            parameters: as the driver takes them.

        Raises:
            DatabaseUnavailable: the database does not answer, and the statement may have been committed; or it takes no
                writes.
            DBAPIError: of SQLAlchemy; the statement itself fails.
        """
        async with self._lock:
            connection = await self._open_connection()
            try:
                cursor = await connection.execute(statement, parameters, prepare=True)
                return await cursor.fetchall()
            except psycopg.Error as error:
                if connection.closed or isinstance(error, ReadOnlySqlTransaction):
                    raise DatabaseUnavailable() from error
                raise DBAPIError(None, None, error, hide_parameters=True) from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _open_connection(self) -> PostgresqlConnection:
        """The present connection, or a new one where the server has ended it."""
        if self._connection is None or self._connection.closed or _has_unread_bytes(self._connection):
            await self.close()
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> PostgresqlConnection:
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        try:
            return await PostgresqlConnection.connect(*arguments, **options)
        except (psycopg.Error, OSError) as error:
            raise DatabaseUnavailable() from error


def _has_unread_bytes(connection: PostgresqlConnection) -> bool:
    """Whether the server has sent something to an idle connection: it does so where it ends one."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
