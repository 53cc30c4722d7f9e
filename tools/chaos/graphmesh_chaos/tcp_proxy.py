"""A TCP proxy with the faults of a network: it stands between a client and its server, which know nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from random import Random
from typing import Protocol

LOOPBACK = "127.0.0.1"
MAX_BYTES = 65536
"""The most bytes that one step forwards."""


class Condition(Protocol):
    """The condition of one direction."""

    async def passage(self, size: int) -> int:
        """Wait until bytes may pass, of `size` bytes that are ready; returns how many. 0 is a connection's end."""


class Open:
    """All bytes pass at once."""

    async def passage(self, size: int) -> int:
        return size


class Blocked:
    """No byte passes, and no end of a connection."""

    async def passage(self, size: int) -> int:
        await asyncio.Event().wait()
        return 0


@dataclass(frozen=True)
class Slow:
    """Bytes pass in segments, each after a delay."""

    latency: float
    """Seconds for each segment."""
    bytes_per_second: float
    segment_bytes: int = 16384

    async def passage(self, size: int) -> int:
        passing = min(size, self.segment_bytes)
        await asyncio.sleep(self.latency + passing / self.bytes_per_second)
        return passing


@dataclass(frozen=True)
class Lossy:
    """A share of the segments is lost, which TCP shows as a delay of all later ones: it sends them again."""

    share: float
    random: Random
    retransmission_seconds: float = 0.25
    """The delay at the first loss of a segment; twice as long at each further one, as TCP does."""
    segment_bytes: int = 1460

    async def passage(self, size: int) -> int:
        passing, delay = min(size, self.segment_bytes), self.retransmission_seconds
        while self.random.random() < self.share:
            await asyncio.sleep(delay)
            delay *= 2
        return passing


class Direction:
    """One direction of all connections of a proxy."""

    def __init__(self) -> None:
        self._condition: Condition = Open()
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return isinstance(self._condition, Open)

    def change(self, condition: Condition) -> None:
        """Change the condition, also for the bytes that wait now."""
        self._condition = condition
        self._changed.set()
        self._changed = asyncio.Event()

    async def passage(self, size: int) -> int:
        """As `Condition.passage`, by the present condition."""
        while not self.is_open:
            changed = asyncio.ensure_future(self._changed.wait())
            passing = asyncio.ensure_future(self._condition.passage(size))
            try:
                await asyncio.wait((changed, passing), return_when=asyncio.FIRST_COMPLETED)
                if passing.done():
                    return passing.result()
            finally:
                changed.cancel()
                passing.cancel()
        return size


class TcpProxy:
    """Forwards connections to one server, by the conditions of its two directions."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.port = 0
        """The port that it listens on."""
        self.server_side_ports: set[int] = set()
        """The local ports of its connections to the server."""
        self.to_server, self.to_client = Direction(), Direction()
        self._flows: set[_Flow] = set()
        self._loses_connections = self._refuses = False
        self._healed = asyncio.Event()

    def redirect(self, port: int) -> None:
        """Forward the connections that are made from now on to another server of the same host."""
        self._target = self._target[0], port

    def partition(self) -> None:
        """Hold back all bytes, of connections that are open and of new ones."""
        self.to_server.change(Blocked())
        self.to_client.change(Blocked())

    def lose_connections(self) -> None:
        """Pass no further byte, even after `heal`, of the connections that are open and of those that are made now."""
        self._loses_connections = True
        for flow in self._flows:
            flow.is_lost = True

    def refuse(self) -> None:
        """Close all connections, and those that are made now, as where the server is dead."""
        self._refuses = True
        self.close_connections()

    def close_connections(self) -> None:
        """Close the connections that are open, without what waits to be sent, as where the server dies."""
        for flow in self._flows:
            flow.writer.transport.abort()

    def heal(self) -> None:
        """Forward again, also the bytes that were held back."""
        self._loses_connections = self._refuses = False
        self.to_server.change(Open())
        self.to_client.change(Open())
        self._healed.set()
        self._healed = asyncio.Event()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side closes it. A handshake needs both directions."""
        if self._refuses:
            writer.transport.abort()
            return
        with suppress(asyncio.CancelledError, OSError), closing(writer):  # cancelled by the end of the loop
            await self.to_server.passage(0)
            await self.to_client.passage(0)
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            with closing(server_writer):
                await self._forward_both(
                    _Flow(reader, server_writer, self.to_server),
                    _Flow(server_reader, writer, self.to_client),
                    local_port=server_writer.get_extra_info("sockname")[1],
                )

    async def _forward_both(self, *directions: "_Flow", local_port: int) -> None:
        """Forward until either side has closed its connection."""
        for one in directions:
            one.is_lost = self._loses_connections
        self._flows.update(directions)
        self.server_side_ports.add(local_port)
        tasks = [asyncio.create_task(one.forward()) for one in directions]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if any(one.is_lost for one in directions) and self._loses_connections:
                await self._healed.wait()
        finally:
            self._flows.difference_update(directions)
            self.server_side_ports.discard(local_port)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(eq=False)
class _Flow:
    """One direction of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    direction: Direction
    is_lost: bool = False
    """Whether its bytes are dropped, as where a router has forgotten it: both sides still believe that it is open."""

    async def forward(self) -> None:
        """Forward until the reader's side closes the connection."""
        with suppress(OSError):  # an aborted connection ends like one that is closed
            while read := await self.reader.read(MAX_BYTES):
                while read and not self.is_lost:
                    passing = await self.direction.passage(len(read))
                    self.writer.write(read[:passing])
                    read = read[passing:]
                await self.writer.drain()
        await self.direction.passage(0)


@asynccontextmanager
async def tcp_proxy(host: str, port: int, *, listen_port: int = 0) -> AsyncIterator[TcpProxy]:
    """Listen on a port of the loopback interface, 0 for a free one, for the server at `host` and `port`."""
    proxy = TcpProxy(host, port)
    server = await asyncio.start_server(proxy.connected, LOOPBACK, listen_port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.heal()
        server.close()
