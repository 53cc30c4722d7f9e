"""Servers that accept connections slowly."""

import asyncio

from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline

from tests.integration.chassis.probe import Probe, Question, echo, probing

SLOW_SECONDS = 0.6


async def test_first_call_waits_for_a_slow_connection() -> None:
    """As to a server on a busy or distant machine."""
    async with probing({"Ask": echo}) as served:
        host, _, port = served.address.rpartition(":")

        async def accept_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(SLOW_SECONDS)
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(forward(reader, far_writer), forward(far_reader, writer))

        async with await asyncio.start_server(accept_slowly, "127.0.0.1", 0) as slow:
            near = slow.sockets[0].getsockname()
            async with Channel(f"{near[0]}:{near[1]}") as channel:
                answer = await channel.unary(Probe.Ask, Question(number=5), deadline=Deadline.after(60))
    assert answer.number == 5


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
    writer.close()
