"""Connections to PostgreSQL that are closed where the server does not answer, instead of waiting for it indefinitely.

A server or a link that is half dead accepts bytes and answers none. TCP does not detect that where a pooler or a proxy
acknowledges the bytes, or where a router has forgotten the connection and nothing is sent.
"""

import asyncio
import os
import socket
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

T = TypeVar("T")

RESPONSE_SECONDS = 10.0
"""Longest wait for the response to a statement, without the deadline of a call; migrations have no limit."""
CANCEL_SECONDS = 1.0
"""Longest wait for the end of a statement whose task was cancelled. After that its connection is closed."""
POLL_SECONDS = 0.1
"""Interval in which the driver checks for interrupts."""
OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",
}
"""Options of libpq, where the URL has none: TCP detects a dead peer in about 10 s, and servers that take no writes, as
standbys, are not connected to."""
SESSION = "SET idle_in_transaction_session_timeout = '30s'"
"""The server ends the transaction of a client that it does not reach, and so releases its locks."""


class PostgresqlConnection(psycopg.AsyncConnection[Any]):
    """A connection of the driver whose statements have a longest time."""

    response_seconds: float | None = RESPONSE_SECONDS
    """None: without a limit."""

    @classmethod
    async def connect(  # type: ignore[override]  # the base class lists options that no caller needs
        cls, conninfo: str = "", *, response_seconds: float | None = None, **options: Any
    ) -> Self:
        """Connect. Raises psycopg.OperationalError where the server does not answer in time."""
        try:
            connection = await super().connect(conninfo, **{**OPTIONS, **options, "autocommit": True})
        except BaseException as error:  # its frames refer to a connection that is not made, which keeps that open
            traceback.clear_frames(error.__traceback__)
            raise
        connection.response_seconds = response_seconds or cls.response_seconds
        try:
            await connection.execute(SESSION)
        except BaseException:  # no caller has it to close it
            connection.pgconn.finish()
            raise
        return connection

    async def wait(self, gen: PQGen[T], interval: float = POLL_SECONDS, timeout: float | None = None) -> T:
        """Wait for the server. Raises psycopg.OperationalError, and closes the connection, after `response_seconds`.

        Notifications, which have a `timeout`, are no responses.
        """
        limit = self.response_seconds if timeout is None else None
        closing = limit and asyncio.get_running_loop().call_later(limit, self._shut_down)
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._cancel_statement(gen)
            raise
        finally:
            if closing:
                closing.cancel()

    def _shut_down(self) -> None:
        """End the stream of the server's bytes, so that the driver finds the connection broken."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    async def _cancel_statement(self, gen: PQGen[Any]) -> None:
        """Cancel the statement at the server; close the connection where that does not end it."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self.cancel_safe()
                await waiting.wait_async(gen, self.pgconn.socket, interval=POLL_SECONDS)
        except psycopg.errors.QueryCanceled:
            return
        except (psycopg.Error, TimeoutError):
            self.pgconn.finish()
        except BaseException:
            self.pgconn.finish()
            raise
