"""Hostile clients by name. Each attacks the edge at a bounded rate, as one tenant; `watcher.py` calls it as another."""

import asyncio
from base64 import b64encode
from contextlib import suppress

from graphmesh.orchestrator.v1 import ListRunsRequest, RunService, StreamRunRequest, WaitRunRequest

from graphmesh_chaos.attack_target import (
    CONNECTIONS,
    STREAMS_A_CONNECTION,
    Attack,
    Target,
    body_of,
    call,
    framed,
    held,
    in_turn,
    repeated,
    request_headers,
    ticks,
)
from graphmesh_chaos.connection_attacks import dripped, idle_connections, unfinished_body, unfinished_header
from graphmesh_chaos.floods import FLOODS, UNKNOWN_RUN, create_run
from graphmesh_chaos.http2_connection import CONTINUATION, HEADERS, PING, SETTINGS, Http2Connection

IDLE_STREAMS = 4_200
OPEN_REQUESTS = 5_000
CHUNK_BYTES = 16_000
"""The part of a body in one frame, below the largest payload."""


def cancelled(target: Target, connection: Http2Connection) -> None:
    connection.reset(target.send(connection, request_headers(RunService.GetRun), framed(UNKNOWN_RUN)))


def half_open(target: Target, connection: Http2Connection) -> None:
    """A request whose message is never complete."""
    target.send(connection, request_headers(RunService.GetRun), framed(UNKNOWN_RUN)[:5], is_complete=False)


def truncated(target: Target, connection: Http2Connection) -> None:
    """A request that ends within its message."""
    target.send(connection, request_headers(RunService.GetRun), framed(UNKNOWN_RUN)[:-1])


def idle_stream(target: Target, connection: Http2Connection) -> None:
    """A stream of the events of a run that has none."""
    request = StreamRunRequest(run_id=target.run_id)
    target.send(connection, request_headers(RunService.StreamRun), framed(request))


def idle_wait(target: Target, connection: Http2Connection) -> None:
    request = WaitRunRequest(run_id=target.run_id)
    target.send(connection, request_headers(RunService.WaitRun), framed(request))


def rapid_reset(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        cancelled(target, connection)


def pings(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        connection.frame(PING, 0, 0, bytes(8))
    target.sent += 50


def settings(target: Target, connection: Http2Connection) -> None:
    for _ in range(50):
        connection.frame(SETTINGS, 0, 0, b"")
    target.sent += 50


def empty_frames(target: Target, connection: Http2Connection) -> None:
    stream = target.send(connection, request_headers(RunService.GetRun), is_complete=False)
    for _ in range(50):
        connection.send_data(stream, b"", is_complete=False)
    target.sent += 49


def unfinished_headers(target: Target, connection: Http2Connection) -> None:
    """A header block of which the end never comes."""
    connection.frame(HEADERS, 0, 1, b"")
    target.sent += 1


def endless_headers(target: Target, connection: Http2Connection) -> None:
    """A header block of a megabyte of small headers, without an end."""
    connection.frame(HEADERS, 0, 1, b"")
    for _ in range(100):
        connection.frame(CONTINUATION, 0, 1, b"\0\1x\1x" * 2_000)
    target.sent += 1


async def slow_uploads(target: Target) -> None:
    """Messages of one byte a second."""
    message = bytes((0,)) + (16_000_000).to_bytes(4, "big")
    async with target.connections(CONNECTIONS) as connections:
        streams = [
            (connection, target.send(connection, request_headers(RunService.CreateRun), message, is_complete=False))
            for connection in connections
            for _ in range(STREAMS_A_CONNECTION)
        ]
        async for _ in ticks(1):
            for connection, stream in streams:
                connection.send_data(stream, b"x", is_complete=False)


async def upload(target: Target, connection: Http2Connection, body: bytes, is_complete: bool) -> None:
    """Send a request as fast as the flow control admits."""
    stream = target.send(connection, request_headers(RunService.CreateRun), is_complete=False)
    for start in range(0, len(body), CHUNK_BYTES):
        await connection.wait_for_window(stream, CHUNK_BYTES)
        connection.send_data(stream, body[start : start + CHUNK_BYTES], is_complete=False)
    if is_complete:
        connection.send_data(stream, b"", is_complete=True)
        await connection.wait_for_ends([stream])


async def large_uploads(target: Target) -> None:
    """Messages that stop before their end."""
    message = bytes((0,)) + (16_000_000).to_bytes(4, "big") + bytes(14_000_000)

    async def hold() -> None:
        async for _ in ticks(1):
            with suppress(OSError):
                async with target.open() as connection:
                    await upload(target, connection, message, is_complete=False)
                    while not connection.is_closed:
                        await asyncio.sleep(0.5)

    await asyncio.gather(*(hold() for _ in range(128)))


async def large_requests(target: Target) -> None:
    """Valid requests with a megabyte of input."""
    message = framed(create_run(target, "x" * 1_000_000))

    async def create() -> None:
        async for _ in ticks(2):
            with suppress(OSError):
                async with target.open() as connection:
                    await upload(target, connection, message, is_complete=True)

    await asyncio.gather(*(create() for _ in range(CONNECTIONS)))


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
    "idle-connections": idle_connections,
    "slow-uploads": slow_uploads,
    "large-uploads": large_uploads,
    "slow-headers": dripped(unfinished_header),
    "slow-bodies": dripped(unfinished_body),
    "large-headers": repeated(
        in_turn(
            *(
                call(GET_RUN, UNKNOWN_RUN, **{f"x-{i}": "x" * size for i in range(count)})
                for size, count in ((16_000, 1), (15_000, 2), (64_000, 1), (1, 200))
            )
        ),
        50,
    ),
    "unfinished-headers": repeated(unfinished_headers, 50),
    "endless-headers": repeated(endless_headers, 50),
    "calls-at-once": held(call(GET_RUN, UNKNOWN_RUN), OPEN_REQUESTS),
    "rapid-resets": repeated(rapid_reset, 100),
    "pings": repeated(pings, 40),
    "settings": repeated(settings, 40),
    "empty-frames": repeated(empty_frames, 40),
    "idle-streams": held(idle_stream, IDLE_STREAMS),
    "idle-waits": held(idle_wait, IDLE_STREAMS),
    "large-requests": large_requests,
    "flood-of-reads": repeated(in_turn(call(GET_RUN, UNKNOWN_RUN), call(RunService.ListRuns, ListRunsRequest())), 500),
    **FLOODS,
}
"""By name. Each is within what one client can send without much effort."""
