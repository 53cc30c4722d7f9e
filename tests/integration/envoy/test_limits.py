"""The limits of one client: what it sees at each, while the calls of another client succeed at both listeners."""

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from graphmesh_chaos.http2_connection import (
    DATA,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Connection,
)
from graphmesh_local.probes import http_get
from graphmesh_mesh.envoy.clusters import ClusterSettings
from graphmesh_mesh.envoy.limits import DEFAULT_LIMITS, Limits, ListenerLimits, ProcessLimits, table
from graphmesh_mesh.service import Listener

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, caller, envoy_with_replica, respond
from tests.integration.envoy.test_hostile_callers import CALL, REQUEST

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"
SMALL = ListenerLimits(
    connections=60,
    address_connections=40,
    idle_seconds=4,
    streams=8,
    header_kib=4,
    headers=20,
    header_seconds=4,
    request_seconds=5,
    body_bytes=200_000,
    flush_seconds=4,
    ping_seconds=1,
    pong_seconds=6,
)
"""At both listeners, so that each is attacked with each."""
PROCESS = ProcessLimits(crowd=SMALL.connections, control_frames=100, frames=50)
LIMITS = Limits(edge=SMALL, mesh=replace(SMALL, silent_seconds=4), process=PROCESS)
LONG = "x" * 1_000_000
LONG_REQUEST = b"\0\0\0\0\x06\n\x04long"
SHORT_TEXT = b"GET /v1/books/b1 HTTP/1.1\r\nHost: edge\r\n"
MAX_CONCURRENT_STREAMS = 3
INTERNAL_ERROR, REFUSED_STREAM = 2, 7
FRAMES = 5000
UNKNOWN = 0xEE
"""A type of frame that HTTP/2 does not have, and that servers ignore."""
CLOSED = "closed"
Attack = Callable[[Listener], Awaitable[Any]]
"""Attacks a listener, and returns what the client has seen."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyHarness]:
    async def long_or_short(request: Any, context: Any) -> Any:
        if getattr(request, "book_id", "") == "long":
            return books_contract.message("GetBookResponse", book_id=LONG)
        return await respond(request, context)

    folder, settings = tmp_path_factory.mktemp("envoy"), ClusterSettings(limits=LIMITS)
    async with envoy_with_replica(books_mesh(), folder, settings) as envoy:
        envoy.replica.handler = long_or_short
        yield envoy


@asynccontextmanager
async def connected(
    listener: Listener, of: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection of a client address."""
    reader, writer = await asyncio.open_connection(listener.address, listener.port, local_addr=(of, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def raw(listener: Listener, sent: bytes = b"", of: str = "127.0.0.1") -> AsyncIterator[asyncio.StreamReader]:
    """Send bytes on a connection of their own, of a client address."""
    async with connected(listener, of) as (reader, writer):
        writer.write(sent)
        yield reader


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what is sent until the connection is closed."""
    with suppress(ConnectionError):
        return await reader.read()
    return b""


async def status(reader: asyncio.StreamReader) -> int:
    """Return the status of a response in HTTP/1.1; 0 where the connection is closed without one."""
    with suppress(ConnectionError):
        words = (await reader.readline()).split()
        return int(words[1]) if words else 0
    return 0


async def statuses(listener: Listener, stack: AsyncExitStack, clients: Iterable[str], refused: int = 0) -> Counter[int]:
    """Make a request on a connection of each client address, which stay open.

    The requests end once so many connections are refused: in a crowd, those without a request are soon closed.
    """
    opened = [await stack.enter_async_context(connected(listener, client)) for client in clients]
    for _, writer in opened:
        writer.write(SHORT_TEXT)
    while sum(reader.at_eof() or reader.exception() is not None for reader, _ in opened) < refused:
        await asyncio.sleep(0.01)
    for _, writer in opened:
        writer.write(b"\r\n")
    return Counter([await status(reader) for reader, _ in opened])


async def connections(listener: Listener) -> Any:
    """Connect from many addresses, of which none has more than its share."""
    clients = [f"127.0.1.{number}" for number in range(1, SMALL.connections + 11)]
    async with AsyncExitStack() as stack:
        seen = await statuses(listener, stack, clients, refused=10)
        return seen[0] >= 10, 0 < seen.total() - seen[0] <= SMALL.connections


async def address_connections(listener: Listener) -> Any:
    """Connect from one address, then once from each of others, of which few are in the same share."""
    bound = SMALL.address_connections or 0
    async with AsyncExitStack() as stack:
        own = await statuses(listener, stack, ["127.0.0.2"] * (bound + 10), refused=10)
        others = await statuses(listener, stack, [f"127.0.1.{number}" for number in range(1, 11)])
        return own[0], others[0] < 5


async def silent(listener: Listener) -> Any:
    async with raw(listener) as reader:
        return await rest(reader)


async def idle(listener: Listener) -> Any:
    async with raw(listener, SHORT_TEXT + b"\r\n") as reader:
        answer = await rest(reader)
        return answer.count(b"HTTP/1.1")


async def streams(listener: Listener) -> Any:
    async with Http2Connection.open(listener) as connection:
        opened = [connection.send(CALL, REQUEST[:5], is_complete=False) for _ in range(SMALL.streams + 1)]
        await connection.wait_for_ends(opened[-1:])
        return connection.settings[MAX_CONCURRENT_STREAMS], connection.reset_codes


async def large_headers(listener: Listener) -> Any:
    async with raw(listener, SHORT_TEXT + b"x: " + b"x" * 5000 + b"\r\n\r\n") as reader:
        http1 = await status(reader)
    async with Http2Connection.open(listener) as connection:
        await connection.wait_for_ends([connection.send({**CALL, "x": "x" * 5000}, REQUEST)])
        return http1, connection.reset_codes


async def many_headers(listener: Listener) -> Any:
    many = {f"x-{number}": "x" for number in range(SMALL.headers + 1)}
    async with raw(listener, SHORT_TEXT + b"".join(b"%s: x\r\n" % name.encode() for name in many) + b"\r\n") as reader:
        http1 = await status(reader)
    async with Http2Connection.open(listener) as connection:
        await connection.wait_for_ends([connection.send({**CALL, **many}, REQUEST)])
        return http1, connection.reset_codes


async def slow_headers(listener: Listener) -> Any:
    async with raw(listener, SHORT_TEXT) as reader:
        http1 = await status(reader)
    async with Http2Connection.open(listener) as connection:
        connection.frame(HEADERS, 0, 1, b"")  # without END_HEADERS
        await connection.wait_for_close()
        return http1, CLOSED


async def slow_request(listener: Listener) -> Any:
    lines = b"POST /v1/books HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    async with raw(listener, lines) as reader:
        http1 = await status(reader)
    async with Http2Connection.open(listener) as connection:
        await connection.wait_for_ends([connection.send(CALL, REQUEST[:5], is_complete=False)])
        return http1, connection.reset_codes


async def large_body(listener: Listener) -> Any:
    async with caller(listener) as call:
        return (await call("PutBook", text="x" * (SMALL.body_bytes + 1))).code


async def unread_response(listener: Listener) -> Any:
    async with Http2Connection.open(listener) as connection:
        connection.frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 1))
        await connection.wait_for_ends([connection.send(CALL, REQUEST)])
        return connection.reset_codes


async def windows(listener: Listener) -> Any:
    """What the server announces for a stream, and for the connection."""
    async with Http2Connection.open(listener) as connection:
        await connection.wait_for_ends([connection.send(CALL, REQUEST)])
        return connection.settings[INITIAL_WINDOW_SIZE], connection.window(0) + len(REQUEST)


def repeated(kind: int, stream: int, payload: bytes) -> Attack:
    """Send a frame many times, beside an open request, and wait for the end of the connection."""

    async def attack(listener: Listener) -> Any:
        async with Http2Connection.open(listener) as connection:
            connection.send(CALL, REQUEST[:5], is_complete=False)
            for _ in range(FRAMES):
                connection.frame(kind, 0, stream, payload)
            await connection.wait_for_close()
            return CLOSED

    return attack


async def unanswered_pings(listener: Listener) -> Any:
    async with Http2Connection.open(listener, answers_pings=False) as connection:
        await connection.wait_for_close()
        return CLOSED


async def resets(listener: Listener) -> Any:
    async with Http2Connection.open(listener) as connection:
        for _ in range(2 * LIMITS.process.resets):
            connection.reset(connection.send(CALL, REQUEST))
        await connection.wait_for_close()
        return CLOSED


async def unread_responses(listener: Listener) -> Any:
    """The responses have windows, but the client reads none, so that their frames wait in Envoy."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (listener.address, listener.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    try:
        connection = Http2Connection(reader, writer)
        writer.write(PREFACE)
        connection.grant_all()
        for _ in range(SMALL.streams):
            connection.send(CALL, LONG_REQUEST)
        while not writer.is_closing():
            connection.frame(UNKNOWN, 0, 0, b"")
            await asyncio.sleep(0.02)
        return CLOSED
    finally:
        writer.close()


async def calls_at_once(listener: Listener) -> Any:
    async with Http2Connection.open(listener) as connection:
        await connection.wait_for_ends([connection.send(CALL, REQUEST) for _ in range(SMALL.streams)])
        return connection.reset_codes


@dataclass(frozen=True)
class Row:
    """A row of the table: an attack, what the client sees, and a counter of Envoy that shows the reason."""

    attack: Attack
    seen: Any
    counter: str = ""


ROWS = {
    "connections": Row(connections, (True, True)),
    "address_connections": Row(address_connections, (10, True), "connection_limit.edge.limited_connections"),
    "streams": Row(streams, (SMALL.streams, {2 * SMALL.streams + 1: REFUSED_STREAM})),
    "header_kib": Row(large_headers, (431, {1: INTERNAL_ERROR})),
    "headers": Row(many_headers, (431, {1: INTERNAL_ERROR})),
    "body_bytes": Row(large_body, grpc.StatusCode.INVALID_ARGUMENT),
    "stream_window": Row(windows, (SMALL.stream_window, SMALL.connection_window)),
    "connection_window": Row(windows, (SMALL.stream_window, SMALL.connection_window)),
    "requests_a_cycle": Row(calls_at_once, {}),
    "resets": Row(resets, CLOSED, "http.edge.downstream_rq_too_many_premature_resets"),
    "control_frames": Row(repeated(PING, 0, bytes(8)), CLOSED, "http2.outbound_flood"),
    "frames": Row(unread_responses, CLOSED, "http2.outbound_flood"),
    "empty_frames": Row(repeated(DATA, 1, b""), CLOSED, "http2.inbound_empty_frames_flood"),
    "priority_frames": Row(
        repeated(PRIORITY, 1, bytes((0, 0, 0, 0, 1))), CLOSED, "http2.inbound_priority_frames_flood"
    ),
    "window_updates": Row(repeated(WINDOW_UPDATE, 0, b"\0\0\0\1"), CLOSED, "http2.inbound_window_update_frames_flood"),
}
WAITING = {
    "silent_seconds": Row(silent, b""),
    "idle_seconds": Row(idle, 1),
    "header_seconds": Row(slow_headers, (408, CLOSED)),
    "request_seconds": Row(slow_request, (408, {1: 0})),
    "flush_seconds": Row(unread_response, {1: INTERNAL_ERROR}, "http2.tx_flush_timeout"),
    "ping_seconds": Row(unanswered_pings, CLOSED, "http2.keepalive_timeout"),
    "pong_seconds": Row(unanswered_pings, CLOSED, "http2.keepalive_timeout"),
}
"""Rows of which the attack waits for a time to pass."""


async def watched(envoy: EnvoyHarness, attacks: list[Attack]) -> list[list[Any]]:
    """Attack both listeners, and return what is seen at each. The calls of another client must succeed meanwhile."""
    listeners = (envoy.mesh.edge, envoy.mesh.mesh)
    seen = asyncio.gather(*(asyncio.gather(*(attack(at) for at in listeners)) for attack in attacks))
    async with asyncio.timeout(60):
        while not seen.done():
            assert [(await call()).code for call in (envoy.edge, envoy.call)] == [grpc.StatusCode.OK] * 2
            await asyncio.wait([seen], timeout=0.05)
    return await seen


async def counters(envoy: EnvoyHarness) -> dict[str, int]:
    lines = (await http_get(f"http://{envoy.mesh.admin.target}/stats?type=Counters")).body.splitlines()
    return {name: int(count) for name, count in (line.split(": ") for line in lines)}


@pytest.mark.parametrize("name", ROWS)
async def test_another_client_s_calls_succeed(envoy: EnvoyHarness, name: str) -> None:
    row, before = ROWS[name], await counters(envoy)
    assert await watched(envoy, [row.attack]) == [[row.seen, row.seen]]
    assert not row.counter or (await counters(envoy))[row.counter] > before[row.counter]


async def test_calls_succeed_beside_clients_that_are_slow(envoy: EnvoyHarness) -> None:
    seen = await watched(envoy, [row.attack for row in WAITING.values()])
    assert dict(zip(WAITING, seen, strict=True)) == {name: [row.seen, row.seen] for name, row in WAITING.items()}
    counted = await counters(envoy)
    assert all(counted[row.counter] for row in WAITING.values() if row.counter)


async def test_silent_connections_count_for_their_address(envoy: EnvoyHarness) -> None:
    """At the edge no connection waits for its first byte before it is counted."""
    name = "connection_limit.edge.limited_connections"
    before = (await counters(envoy))[name]
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        while (await counters(envoy))[name] == before:
            await stack.enter_async_context(raw(envoy.mesh.edge, of="127.0.0.2"))


async def test_the_page_has_all_limits_and_each_is_attacked() -> None:
    """Those of the heap and of a crowd are in test_hostile_callers.py."""
    limits = {one.name for kind in (ListenerLimits, ProcessLimits) for one in fields(kind)}
    assert limits == {*ROWS, *WAITING, "heap_bytes", "crowd"}
    assert table(DEFAULT_LIMITS) in PAGE.read_text(), f"docs/limits.md must have\n{table(DEFAULT_LIMITS)}"


SMUGGLED = b"GET /v1/books/b1 HTTP/1.1\r\nHost: edge\r\nx-smuggled: 1\r\n\r\n"
POST = b"POST /v1/books HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
SHORT = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length-and-chunks": POST + SHORT + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks-and-length": POST + CHUNKED + SHORT + b"\r\n0\r\n\r\n" + SMUGGLED,
    "two-lengths": POST + SHORT + b"Content-Length: 90\r\n\r\n{}" + SMUGGLED,
    "list-of-lengths": POST + b"Content-Length: 2, 90\r\n\r\n{}" + SMUGGLED,
    "negative-length": POST + b"Content-Length: -1\r\n\r\n{}" + SMUGGLED,
    "signed-length": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "long-length": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}" + SMUGGLED,
    "unknown-coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding-beside-chunks": POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two-codings": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "space-before-colon": POST + b"Transfer-Encoding : chunked\r\n" + SHORT + b"\r\n0\r\n\r\n" + SMUGGLED,
    "folded-header": POST + b"Transfer-Encoding:\r\n chunked\r\n" + SHORT + b"\r\n0\r\n\r\n" + SMUGGLED,
    "null-in-header": POST + b"x: a\0b\r\n" + SHORT + b"\r\n{}" + SMUGGLED,
    "invalid-chunk-size": POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "long-chunk-size": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "http-0.9": b"GET /v1/books/b1\r\n\r\n" + SMUGGLED,
    "no-host": b"GET /v1/books/b1 HTTP/1.1\r\n\r\n" + SMUGGLED,
    "connect": b"CONNECT edge:80 HTTP/1.1\r\nHost: edge\r\n\r\n" + SMUGGLED,
}
"""Requests in HTTP/1.1 whose end two readers may find in different places, and behind that end another request."""


REFUSALS = {b"400", b"408", b"426", b"501"}


async def test_no_request_is_smuggled_behind_another(envoy: EnvoyHarness) -> None:
    """The connection is closed after the refusal of the first."""

    def sent(request: bytes) -> Attack:
        async def attack(listener: Listener) -> list[bytes]:
            async with raw(listener, request) as reader:
                return re.findall(rb"HTTP/1.1 (\d+)", await rest(reader))

        return attack

    envoy.replica.received.clear()
    seen = await watched(envoy, [sent(request) for request in AMBIGUOUS.values()])
    for name, replies in zip(AMBIGUOUS, seen, strict=True):
        assert all(len(each) == 1 and each[0] in REFUSALS for each in replies), name
    assert not [one for one in envoy.replica.received if "x-smuggled" in one.metadata]
