"""Attacks by connections without HTTP/2: idle ones, and requests that arrive one byte a second."""

import asyncio
import resource
from asyncio import StreamWriter
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from graphmesh_chaos.attack_target import Attack, Target, ticks

IDLE_CONNECTIONS = 10_000
AT_ONCE = 100
SLOW_CONNECTIONS = 1_000
SPARE_FILES = 500
"""The open files that are left to the process, of those that it may have, for all but connections."""
REQUEST = b"GET /v1/runs HTTP/1.1\r\nhost: edge\r\n\r\n"


async def idle_connections(target: Target) -> None:
    """Hold very many connections, every other one after a request; then open a new one in place of the oldest."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    count = min(IDLE_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)
    held = deque[StreamWriter]()

    async def connect() -> None:
        with suppress(OSError):
            held.append(await target.connect())
            if len(held) % 2:
                held[-1].write(REQUEST)

    try:
        while len(held) < count and target.sent < 2 * count:
            await asyncio.gather(*(connect() for _ in range(AT_ONCE)))
        async for _ in ticks(AT_ONCE):
            held.popleft().close()
            await connect()
    finally:
        for writer in held:
            writer.close()


def dripped(head: Callable[[Target], bytes]) -> Attack:
    """An attack with many connections of HTTP/1.1 that send the head of a request, and then one byte a second."""

    async def drip(target: Target) -> None:
        while True:
            with suppress(OSError):
                writer = await target.connect()
                try:
                    writer.write(head(target))
                    async for _ in ticks(1):
                        writer.write(b"x")
                        await writer.drain()
                finally:
                    writer.close()

    async def attack(target: Target) -> None:
        await asyncio.gather(*(drip(target) for _ in range(SLOW_CONNECTIONS)))

    return attack


def unfinished_header(target: Target) -> bytes:
    return b"GET /v1/runs HTTP/1.1\r\nx: "


def unfinished_body(target: Target) -> bytes:
    head = f"POST /v1/runs HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {target.token()}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{{".encode()
