"""The test kit: a real server, in this process, on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from graphmesh_chassis.channel import Channel
from graphmesh_chassis.serve import Running, Servable, serving
from graphmesh_chassis.settings import ServerSettings


@dataclass(frozen=True)
class Served:
    """A server under test and a channel to it."""

    running: Running
    channel: Channel

    @property
    def address(self) -> str:
        return self.running.address


@asynccontextmanager
async def running(servable: Servable, settings: ServerSettings | None = None) -> AsyncIterator[Served]:
    """Serve `servable` with every hook while the body runs."""
    async with (
        serving("test", servable, settings or ServerSettings()) as server,
        Channel(server.address) as channel,
    ):
        yield Served(server, channel)
