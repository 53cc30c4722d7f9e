"""Opens the port of a service over each of its stores, so that one suite runs over all of them.

LEDGER = Port[Ledger](MemoryLedger, SqlLedger, MIGRATIONS)

@pytest_asyncio.fixture
async def open_ledger(store_url: str) -> AsyncIterator[OpenPort[Ledger]]:
    async with LEDGER.over(store_url) as open_ledger:
        yield open_ledger
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from graphmesh_chassis.database import open_database
from sqlalchemy.ext.asyncio import AsyncConnection

PortT = TypeVar("PortT")
PortT_co = TypeVar("PortT_co", covariant=True)


class OpenPort(Protocol[PortT_co]):
    """Opens the port of one tenant, in a transaction of its own."""

    def __call__(self, tenant: str = "acme") -> AbstractAsyncContextManager[PortT_co]: ...


@dataclass(frozen=True)
class Port(Generic[PortT]):
    """A port with its in-memory twin, its SQL implementation, and the migrations of its tables."""

    memory: Callable[[], PortT]
    sql: Callable[[AsyncConnection, str], PortT]
    migrations: Path

    @asynccontextmanager
    async def over(self, url: str) -> AsyncIterator[OpenPort[PortT]]:
        """Yield a function that opens the port over the database at `url`; over memory where `url` is empty."""
        if not url:
            yield self._in_memory()
            return
        async with open_database(url, self.migrations) as database:

            @asynccontextmanager
            async def open_port(tenant: str = "acme") -> AsyncIterator[PortT]:
                async with database.transaction() as connection:
                    yield self.sql(connection, tenant)

            yield open_port

    def _in_memory(self) -> OpenPort[PortT]:
        tenants: dict[str, PortT] = {}

        @asynccontextmanager
        async def open_port(tenant: str = "acme") -> AsyncIterator[PortT]:
            yield tenants.setdefault(tenant, self.memory())

        return open_port
