"""A PostgreSQL server with a synchronous standby, and one address that leads to the one that accepts writes.

The address is that of a proxy; the product knows nothing of it, as of a virtual address or a load balancer.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from graphmesh_local.backends import Postgres, postgres, postgres_standby, redis
from graphmesh_local.databases import POSTGRES_SETTINGS, SharedServers, kill_postgres, pause_replication, promote

from graphmesh_chaos.tcp_proxy import LOOPBACK, TcpProxy, tcp_proxy


class ReplicatedPostgres:
    """A primary and its standby."""

    def __init__(self, primary: Postgres, proxy: TcpProxy, running: AsyncExitStack, lag_seconds: float) -> None:
        self.primary = self._standby = primary
        self._proxy, self._running, self._lag_seconds = proxy, running, lag_seconds

    async def add_standby(self) -> None:
        """Copy the primary, which from then on acknowledges no commit before the standby has it."""
        standby = postgres_standby(self.primary, settings=POSTGRES_SETTINGS)
        self._standby = await self._running.enter_async_context(standby)

    async def fail_over(self, seconds: float) -> None:
        """Kill the primary, whose data are lost, promote the standby after some seconds, and give it a new standby."""
        if self._lag_seconds:
            await asyncio.to_thread(pause_replication, self.primary)
            await asyncio.sleep(self._lag_seconds)
        kill_postgres(self.primary)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(shutil.rmtree, self.primary.folder / "data")
        await asyncio.to_thread(promote, self._standby)
        self.primary = self._standby
        self._proxy.redirect(self.primary.port)
        await self.add_standby()


@asynccontextmanager
async def replicated_servers(*, lag_seconds: float = 0.0) -> AsyncIterator[tuple[SharedServers, ReplicatedPostgres]]:
    """Run new servers that several orchestrators share; PostgreSQL has a standby.

    Args:
        lag_seconds: time before the death of a primary in which it sends nothing to its standby. A commit that does not
            wait for the standby is lost then. So is one whose wait is cancelled, and clients can see it until then.

    Raises:
        BackendMissing: the wheel has no programs for replication.
    """
    async with AsyncExitStack() as running:
        primary = await running.enter_async_context(postgres(settings=POSTGRES_SETTINGS))
        proxy = await running.enter_async_context(tcp_proxy(LOOPBACK, primary.port))
        replicated = ReplicatedPostgres(primary, proxy, running, lag_seconds)
        await replicated.add_standby()
        bus = await running.enter_async_context(redis())
        yield SharedServers(replace(primary, port=proxy.port), bus), replicated
