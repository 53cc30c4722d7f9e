"""A TCP proxy that can be partitioned: connections stay open, and no byte passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress


class TcpProxy:
    """Forwards connections to one server, except while it is partitioned."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._passes = asyncio.Event()
        self._passes.set()

    def partition(self) -> None:
        """Hold back all bytes, of connections that are open and of new ones."""
        self._passes.clear()

    def heal(self) -> None:
        """Forward again, also the bytes that were held back."""
        self._passes.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side closes it."""
        with suppress(asyncio.CancelledError):  # by the end of the test's loop; asyncio would report it
            await self._passes.wait()
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            with closing(writer), closing(server_writer):
                directions = [self._forward(reader, server_writer), self._forward(server_reader, writer)]
                tasks = [asyncio.create_task(direction) for direction in directions]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while read := await reader.read(65536):
            await self._passes.wait()
            writer.write(read)
            await writer.drain()


@asynccontextmanager
async def tcp_proxy(host: str, port: int) -> AsyncIterator[tuple[TcpProxy, int]]:
    """Listen on a free port of the loopback interface; yields the proxy and its port."""
    proxy = TcpProxy(host, port)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        proxy.heal()
        server.close()
