"""A PostgreSQL that accepts bytes and answers none delays its clients for a bounded time."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from graphmesh_chaos.tcp_proxy import TcpProxy, tcp_proxy
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.postgresql_connection import PostgresqlConnection

ONE: sa.Select[Any] = sa.select(sa.literal_column("1"))
WITHIN_SECONDS = 60.0
"""Far below the time after which TCP ends a connection without an answer, which is none."""


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresqlConnection, "response_seconds", 3)


@asynccontextmanager
async def proxied_database(postgres_url: str) -> AsyncIterator[tuple[TcpProxy, Database]]:
    """A database behind a proxy."""
    direct = sa.make_url(postgres_url)
    async with tcp_proxy(direct.host or "", direct.port or 5432) as proxy:
        url = direct.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with asyncio.timeout(WITHIN_SECONDS), open_database(url) as database:
            yield proxy, database


async def test_a_query_on_a_lost_connection_fails(postgres_url: str) -> None:
    """Its connection is not used again, and neither are those that were opened before."""
    async with proxied_database(postgres_url) as (proxy, database):
        await asyncio.gather(*(database.rows(ONE) for _ in range(5)))
        proxy.lose_connections()
        proxy.heal()
        with pytest.raises(DatabaseUnavailable):
            await database.rows(ONE)
        assert len(await database.rows(ONE)) == 1


async def test_a_statement_of_a_single_statement_connection_fails(postgres_url: str) -> None:
    """The next one is executed on a new connection."""
    async with proxied_database(postgres_url) as (proxy, database):
        connection = database.single_statement_connection()
        await connection.execute("SELECT 1", {})
        proxy.lose_connections()
        proxy.heal()
        with pytest.raises(DatabaseUnavailable):
            await connection.execute("SELECT 1", {})
        assert await connection.execute("SELECT 1", {}) == [(1,)]


async def test_a_cancelled_query_ends_without_an_answer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request to cancel it gets no answer either."""
    monkeypatch.setattr(PostgresqlConnection, "response_seconds", None)
    async with proxied_database(postgres_url) as (proxy, database):
        await database.rows(ONE)
        proxy.partition()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await database.rows(ONE)
        proxy.heal()
        assert len(await database.rows(ONE)) == 1


async def test_a_cancelled_query_ends_at_the_server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection can be used again."""
    monkeypatch.setattr("graphmesh_chassis.postgresql_connection.CANCEL_SECONDS", 60)
    async with await PostgresqlConnection.connect(_driver_url(postgres_url)) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.execute("SELECT pg_sleep(600)")
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchall() == [(1,)]


class Interrupted(PostgresqlConnection):
    """Its task is cancelled when the connection is made, before it is returned."""

    async def execute(self, *_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError


async def test_a_connection_that_is_not_returned_is_closed(postgres_url: str) -> None:
    with pytest.raises(asyncio.CancelledError):
        await Interrupted.connect(_driver_url(postgres_url))
    assert [one.closed for one in gc.get_objects() if type(one) is Interrupted] in ([], [True])
    gc.collect()  # one that is open would warn


async def test_connecting_to_a_half_dead_server_fails(postgres_url: str) -> None:
    """The option of the URL has precedence over the default of five seconds."""
    direct = sa.make_url(postgres_url)
    async with tcp_proxy(direct.host or "", direct.port or 5432) as proxy:
        proxy.partition()
        with pytest.raises(psycopg.OperationalError):
            await PostgresqlConnection.connect(_driver_url(direct.set(port=proxy.port)), connect_timeout=2)


@pytest.mark.parametrize("seconds", [0.2, WITHIN_SECONDS], ids=["cancelled", "too late"])
async def test_a_connection_that_is_not_made_is_closed(seconds: float) -> None:
    """At once, while its error is still handled: until then PostgreSQL drops no database."""
    closed = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    async with await asyncio.start_server(accept, "127.0.0.1") as server:
        url = f"postgresql://user@127.0.0.1:{server.sockets[0].getsockname()[1]}/none"
        gc.disable()
        try:
            with pytest.raises((TimeoutError, psycopg.OperationalError)) as error:
                async with asyncio.timeout(seconds):
                    await PostgresqlConnection.connect(url, connect_timeout=2)
            async with asyncio.timeout(WITHIN_SECONDS):
                await closed.wait()
        finally:
            gc.enable()
        assert error.value.__traceback__


async def test_the_server_ends_transactions_of_lost_clients(postgres_url: str) -> None:
    """Else their locks would be held until the server's TCP finds the client dead, in hours."""
    async with await PostgresqlConnection.connect(_driver_url(postgres_url)) as connection:
        cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
        assert await cursor.fetchall() == [("30s",)]


def _driver_url(url: str | sa.URL) -> str:
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
