"""The faults of a link, as a client and its server observe them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from random import Random

import pytest
from graphmesh_chaos.tcp_proxy import LOOPBACK, Blocked, Lossy, Slow, TcpProxy, tcp_proxy


@dataclass
class Echo:
    """A server that returns what it receives, and clients behind a proxy."""

    proxy: TcpProxy
    received: asyncio.Event
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.proxy.port)
        self.writers.append(writer)
        return reader, writer


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[Echo]:
    received, handlers = asyncio.Event(), set[asyncio.Task[None] | None]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with suppress(OSError), closing(writer):
            while read := await reader.read(65536):
                received.set()
                writer.write(read)

    server = await asyncio.start_server(connected, LOOPBACK, 0)
    async with asyncio.timeout(60), tcp_proxy(LOOPBACK, server.sockets[0].getsockname()[1]) as proxy:
        echo = Echo(proxy, received)
        yield echo
        for writer in echo.writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await asyncio.gather(*(handler for handler in handlers if handler))
        server.close()


async def is_silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing arrives for a moment in which an echo arrives many times over."""
    try:
        async with asyncio.timeout(0.2):
            return not await reader.read(1)
    except TimeoutError:
        return True


async def test_partition_holds_bytes_back_until_it_is_over() -> None:
    """Those of open connections, and those of new ones."""
    async with echo_behind_proxy() as echo:
        reader, writer = await echo.connect()
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        echo.proxy.partition()
        writer.write(b"2")
        later_reader, later_writer = await echo.connect()
        later_writer.write(b"3")
        assert await is_silent(reader)
        assert await is_silent(later_reader)
        echo.proxy.heal()
        assert await reader.readexactly(1) == b"2"
        assert await later_reader.readexactly(1) == b"3"


async def test_requests_arrive_where_only_responses_are_cut_off() -> None:
    async with echo_behind_proxy() as echo:
        reader, writer = await echo.connect()
        writer.write(b"1")
        await reader.readexactly(1)
        echo.received.clear()
        echo.proxy.to_client.change(Blocked())
        writer.write(b"2")
        await echo.received.wait()
        assert await is_silent(reader)
        echo.proxy.heal()
        assert await reader.readexactly(1) == b"2"


async def test_lost_connection_passes_nothing_when_the_fault_is_over() -> None:
    """A new one does. The end of the lost one is passed on, so that no side keeps it for ever."""
    async with echo_behind_proxy() as echo:
        reader, writer = await echo.connect()
        writer.write(b"1")
        await reader.readexactly(1)
        echo.proxy.lose_connections()
        echo.proxy.heal()
        writer.write(b"2")
        assert await is_silent(reader)
        new_reader, new_writer = await echo.connect()
        new_writer.write(b"3")
        assert await new_reader.readexactly(1) == b"3"
        writer.write_eof()
        assert await reader.read() == b""


async def test_refused_connections_are_closed() -> None:
    """Those that are open, and those that are made meanwhile."""
    async with echo_behind_proxy() as echo:
        reader, writer = await echo.connect()
        writer.write(b"1")
        await reader.readexactly(1)
        echo.proxy.refuse()
        later, _ = await echo.connect()
        assert (await reader.read(), await later.read()) == (b"", b"")
        echo.proxy.heal()
        again, its_writer = await echo.connect()
        its_writer.write(b"2")
        assert await again.readexactly(1) == b"2"


@pytest.mark.parametrize(
    "condition",
    [Slow(0.001, 1_000_000), Slow(0.001, 1_000_000, segment_bytes=4), Lossy(0.3, Random(1), 0.001, segment_bytes=100)],
    ids=["slow", "drip", "loss"],
)
async def test_delayed_bytes_arrive_all_and_in_order(condition: Slow | Lossy) -> None:
    sent = bytes(range(256)) * 4
    async with echo_behind_proxy() as echo:
        reader, writer = await echo.connect()
        echo.proxy.to_server.change(condition)
        echo.proxy.to_client.change(condition)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
