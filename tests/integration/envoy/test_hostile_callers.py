"""Nothing that a caller causes counts against a replica: calls of another client succeed during each attack."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc
import pytest
from graphmesh_chaos.http2_connection import Http2Connection
from graphmesh_local.probes import http_get
from graphmesh_mesh.envoy.clusters import ClusterSettings
from graphmesh_mesh.envoy.limits import DEFAULT_LIMITS, Limits, ProcessLimits
from graphmesh_mesh.service import Listener

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, caller, envoy_with_replica, failing
from tests.integration.envoy.http_client import fetch

CALL = {
    ":method": "POST",
    ":scheme": "http",
    ":path": books_contract.path("GetBook"),
    ":authority": "edge",
    "content-type": "application/grpc",
    "te": "trailers",
}
REQUEST = b"\0\0\0\0\x04\n\x02b1"
ROUNDS, CALLS = 3, 40
UPLOADS, UPLOAD_BYTES, FRAME_BYTES = 20, 12_000_000, 16_000
"""Twice the heap of Envoy."""
HEAP_BYTES = 128_000_000
SECONDS_OPEN = 2.0
CROWD = 200
IDLE_SECONDS = DEFAULT_LIMITS.edge.idle_seconds
REFUSING_PERCENT = 95
"""Of its heap, from which on Envoy refuses all requests."""


def changed(body: bytes = REQUEST, **headers: str) -> Callable[[Http2Connection], int]:
    """Return an attack: a request with other headers or another body."""
    changes = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda connection: connection.send({**CALL, **changes}, body)


def without(header: str) -> Callable[[Http2Connection], int]:
    return lambda connection: connection.send({name: CALL[name] for name in CALL if name != header}, REQUEST)


def method(name: str) -> Callable[[Http2Connection], int]:
    return lambda connection: connection.send({**CALL, ":method": name}, REQUEST)


def half_open(connection: Http2Connection) -> int:
    return connection.send({**CALL, "grpc-timeout": "100m"}, REQUEST[:5], is_complete=False)


def reset(connection: Http2Connection) -> int:
    stream = connection.send(CALL, REQUEST)
    connection.reset(stream)
    return stream


ATTACKS: dict[str, Callable[[Http2Connection], int]] = {
    "deadline-1ms": changed(grpc_timeout="1m"),
    "deadline-1ns": changed(grpc_timeout="1n"),
    "deadline-within-the-call": changed(body=REQUEST[:-1], grpc_timeout="50m"),
    "half-open": half_open,
    "reset": reset,
    "text": changed(content_type="text/plain"),
    "json": changed(b"{}", content_type="application/json"),
    "form": changed(content_type="application/x-www-form-urlencoded"),
    "no-content-type": without("content-type"),
    "no-te": without("te"),
    "get": method("GET"),
    "put": method("PUT"),
    "unknown-encoding": changed(b"\1" + REQUEST[1:], grpc_encoding="zstd"),
    "broken-compression": changed(b"\1" + REQUEST[1:], grpc_encoding="gzip"),
    "broken-frame": changed(b"\xff" + REQUEST[1:]),
    "too-long-message": changed(b"\0\xff\xff\xff\xff"),
    "broken-metadata": changed(x_bin="!"),
    "status-in-request": changed(grpc_status="14"),
}


async def attack(listener: Listener, send: Callable[[Http2Connection], int]) -> None:
    for _ in range(ROUNDS):
        async with asyncio.timeout(60), Http2Connection.open(listener) as connection:
            await connection.wait_for_ends([send(connection) for _ in range(CALLS)])


async def watch(envoy: EnvoyHarness, attack: asyncio.Task[None]) -> Counter[tuple[str, grpc.StatusCode]]:
    """Call as another client at both listeners, until some time after the attack, and count the outcomes."""
    seen: Counter[tuple[str, grpc.StatusCode]] = Counter()
    calls_after = 0
    async with caller(envoy.mesh.edge) as edge, caller(envoy.mesh.mesh) as mesh:
        while calls_after < 20:
            for name, call in (("edge", edge), ("mesh", mesh)):
                seen[name, (await call()).code] += 1
            calls_after += attack.done()
    return seen


async def ejections(envoy: EnvoyHarness) -> int:
    stats = await http_get(f"http://{envoy.mesh.admin.target}/stats?filter=ejections_enforced_total$")
    return sum(int(line.rpartition(" ")[2]) for line in stats.body.splitlines())


@pytest.mark.parametrize("at", ["edge", "mesh"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_another_client_is_not_affected(envoy: EnvoyHarness, name: str, at: str) -> None:
    """Calls of all kinds that fail by their caller, many at once, at the edge and at a service of the mesh."""
    attacking = asyncio.create_task(attack(getattr(envoy.mesh, at), ATTACKS[name]))
    seen = await watch(envoy, attacking)
    await attacking
    assert {code for _, code in seen} == {grpc.StatusCode.OK}, seen
    assert await ejections(envoy) == 0


@pytest.mark.parametrize("at", ["edge", "mesh"])
async def test_requests_that_stay_open_take_no_capacity(envoy: EnvoyHarness, at: str) -> None:
    """3,000 of them, more than Envoy's cap: none is sent to the replica before it is complete."""
    listener = getattr(envoy.mesh, at)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        for _ in range(30):
            connection = await stack.enter_async_context(Http2Connection.open(listener))
            for _ in range(100):
                connection.send(CALL, REQUEST[:5], is_complete=False)
        outcomes = [await call() for call in (envoy.edge, envoy.call) for _ in range(50)]
    assert {outcome.code for outcome in outcomes} == {grpc.StatusCode.OK}
    assert len(envoy.replica.received) == len(outcomes)


@pytest.mark.parametrize(
    ("method", "content_type", "status", "grpc_status"),
    [
        ("POST", "text/plain", 415, None),
        ("POST", "application/grpcx", 415, None),
        ("GET", "", 405, None),
        ("GET", "application/grpc+proto", 200, "3"),
    ],
)
async def test_requests_that_are_not_grpc_end_at_envoy(
    envoy: EnvoyHarness, method: str, content_type: str, status: int, grpc_status: str | None
) -> None:
    """With an HTTP status, or with INVALID_ARGUMENT where the content type is gRPC's."""
    for listener in (envoy.mesh.edge, envoy.mesh.mesh):
        path = books_contract.path("GetBook")
        reply = await fetch(listener, method, path, REQUEST, {"content-type": content_type})
        assert (reply.status, reply.headers.get("grpc-status")) == (status, grpc_status)
    assert not envoy.replica.received


@pytest.mark.parametrize("at", ["edge", "mesh"])
async def test_a_header_that_grpc_cannot_read_breaks_no_other_call(envoy: EnvoyHarness, at: str) -> None:
    """Callers share the connection to the replica. In its header table gRPC's server library keeps that a value was
    not readable, so that a valid value of the same header would fail too; therefore such values end at Envoy."""
    listener = getattr(envoy.mesh, at)
    valid = {"content-type": "application/grpc", "grpc-encoding": "deflate", "x-test-bin": "AAAA"}
    broken = {"grpc-encoding": "zstd", "x-test-bin": "!", "grpc-status": "x", "grpc-retry-pushback-ms": "x"}
    for name, value in broken.items():
        for _ in range(5):
            await fetch(listener, "POST", books_contract.path("GetBook"), REQUEST, {**valid, name: value})
    envoy.replica.received.clear()
    replies = [await fetch(listener, "POST", books_contract.path("GetBook"), REQUEST, valid) for _ in range(10)]
    assert {reply.headers.get("grpc-status") for reply in replies} == {None}
    assert len(envoy.replica.received) == len(replies)


async def test_a_call_over_http1_passes(envoy: EnvoyHarness) -> None:
    """It has no `te` header, without which a gRPC server resets it; Envoy adds it."""
    for listener in (envoy.mesh.edge, envoy.mesh.mesh):
        headers = {"content-type": "application/grpc"}
        assert (await fetch(listener, "POST", books_contract.path("GetBook"), REQUEST, headers)).status == 200
    assert len(envoy.replica.received) == 2


async def test_failures_of_the_last_replica_at_the_edge_do_not_eject_it(envoy: EnvoyHarness) -> None:
    """Clients get the replica's own errors, and its responses as soon as it recovers."""
    before, envoy.replica.handler = envoy.replica.handler, failing(grpc.StatusCode.UNAVAILABLE)
    assert {(await envoy.edge()).flags for _ in range(30)} == {""}
    envoy.replica.handler = before
    assert (await envoy.edge()).code is grpc.StatusCode.OK


async def test_uploads_that_stay_open_exhaust_no_memory(tmp_path: Path) -> None:
    """Envoy resets those that buffer the most, before it refuses the requests of others."""

    async def upload(envoy: EnvoyHarness) -> bool:
        """Send a large request but for its end; returns whether Envoy has reset it."""
        async with Http2Connection.open(envoy.mesh.edge) as connection:
            stream = connection.send(CALL, REQUEST[:1] + (UPLOAD_BYTES + 1).to_bytes(4, "big"), is_complete=False)
            for _ in range(UPLOAD_BYTES // FRAME_BYTES):
                await connection.wait_for_window(stream, FRAME_BYTES)
                connection.send_data(stream, bytes(FRAME_BYTES), is_complete=False)
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_OPEN):
                    await connection.wait_for_ends([stream])
                    return True
            return False

    async def attack(envoy: EnvoyHarness) -> None:
        resets.extend(await asyncio.gather(*(upload(envoy) for _ in range(UPLOADS))))

    resets: list[bool] = []
    settings = ClusterSettings(limits=Limits(process=ProcessLimits(heap_bytes=HEAP_BYTES)))
    async with envoy_with_replica(books_mesh(), tmp_path, settings) as envoy:
        seen = await watch(envoy, asyncio.create_task(attack(envoy)))
        memory = await http_get(f"http://{envoy.mesh.admin.target}/stats?filter=fixed_heap.pressure")
    assert {code for _, code in seen} == {grpc.StatusCode.OK}, seen
    assert len(resets) == UPLOADS
    assert any(resets)
    assert int(memory.body.rpartition(" ")[2]) < REFUSING_PERCENT


async def test_connections_without_a_request_are_closed_in_a_crowd(tmp_path: Path) -> None:
    """A client opens many, sends nothing and keeps them open. Another one connects and calls meanwhile."""
    count, closed = 2 * CROWD + 100, 0

    async def silent_connection(listener: Listener) -> None:
        nonlocal closed
        reader, writer = await asyncio.open_connection(listener.address, listener.port, local_addr=("127.0.0.2", 0))
        try:
            with suppress(ConnectionError):
                await reader.read()
            closed += 1
        finally:
            writer.close()

    settings = ClusterSettings(limits=Limits(process=ProcessLimits(crowd=CROWD)))
    async with envoy_with_replica(books_mesh(), tmp_path, settings) as envoy, asyncio.timeout(IDLE_SECONDS / 2):
        attack = [asyncio.create_task(silent_connection(envoy.mesh.edge)) for _ in range(count)]
        while closed < count - 2 * CROWD:
            async with caller(envoy.mesh.edge) as call:
                assert (await call()).code is grpc.StatusCode.OK
        for one in attack:
            one.cancel()
        await asyncio.wait(attack)
