"""Status and response flags of each failure, from which a remote node decides whether a call may have happened."""

import asyncio
from pathlib import Path

import grpc
import pytest
from graphmesh_chaos.tcp_proxy import LOOPBACK, tcp_proxy
from graphmesh_local.child_process import reserve_port
from graphmesh_mesh.envoy.clusters import ClusterSettings
from graphmesh_mesh.service import Listener

from tests.integration.envoy.envoy_harness import (
    EnvoyHarness,
    Replica,
    books_mesh,
    envoy_with_replica,
    eventually,
    failing,
    running_envoy,
)


async def test_no_healthy_replica(tmp_path: Path) -> None:
    """UH: the call was never sent."""
    async with running_envoy(books_mesh(), tmp_path) as envoy:
        result = await envoy.call()
    assert (result.code, result.flags, result.details) == (grpc.StatusCode.UNAVAILABLE, "UH", "no healthy upstream")
    assert not result.initial


async def test_overflow(tmp_path: Path) -> None:
    """UO: Envoy refuses calls above cap, queue and headroom at once, without sending them."""
    async with envoy_with_replica(books_mesh(), tmp_path, ClusterSettings(headroom=0)) as envoy:
        envoy.replica.handler = envoy.replica.block
        admitted = [asyncio.create_task(envoy.call()) for _ in range(3)]
        await envoy.wait_for_calls(3)
        result = await envoy.call()
        envoy.replica.released.set()
        await asyncio.gather(*admitted)
    assert (result.code, result.flags) == (grpc.StatusCode.UNAVAILABLE, "UO")
    assert result.seconds < 20
    assert len(envoy.replica.received) == 3


async def test_calls_above_the_admission_limits_reach_the_service(envoy: EnvoyHarness) -> None:
    """The service itself refuses them, with a reason and RetryInfo."""
    envoy.replica.handler = envoy.replica.block
    calls = [asyncio.create_task(envoy.call()) for _ in range(300)]
    await envoy.wait_for_calls(300)
    envoy.replica.released.set()
    assert {one.code for one in await asyncio.gather(*calls)} == {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("method", "flags"),
    [("GetBook", "URX,UF"), ("PutBook", "URX,UF"), ("DiscardBook", "UF")],
    ids=["read", "effect", "unknown"],
)
async def test_connection_refused(tmp_path: Path, method: str, flags: str) -> None:
    """UF: the call was never sent. It was retried (URX) where the contract declares the effect of a repeat."""
    mesh, replica = books_mesh(), Replica()
    async with (
        replica.serving(mesh.services["books"].replica_listeners[0]) as server,
        running_envoy(mesh, tmp_path, replica, ClusterSettings(health_check_interval=60)) as envoy,
    ):
        await envoy.wait_for_success()
        await server.stop(None)
        await envoy.wait_for_no_connection()
        result = await envoy.call(method)
    assert (result.code, result.flags) == (grpc.StatusCode.UNAVAILABLE, flags)


async def test_connection_lost_before_the_response(tmp_path: Path) -> None:
    """UC: the call may have happened, so Envoy does not retry it."""
    mesh, hidden = books_mesh(), Listener(port=reserve_port())
    async with (
        running_envoy(mesh, tmp_path) as envoy,
        envoy.replica.serving(hidden),
        tcp_proxy(LOOPBACK, hidden.port, listen_port=envoy.replica_listener.port) as proxy,
    ):
        await envoy.wait_for_success()
        envoy.replica.received.clear()
        envoy.replica.handler = envoy.replica.block
        call = asyncio.create_task(envoy.call("PutBook"))
        await envoy.wait_for_calls(1)
        proxy.close_connections()
        result = await call
    assert (result.code, result.flags) == (grpc.StatusCode.UNAVAILABLE, "UC")
    assert [one.method for one in envoy.replica.received] == ["PutBook"]


async def test_connection_lost_within_the_response(tmp_path: Path) -> None:
    """INTERNAL without flags, since the headers were already sent."""
    mesh, hidden = books_mesh(), Listener(port=reserve_port())
    async with (
        running_envoy(mesh, tmp_path) as envoy,
        envoy.replica.serving(hidden),
        tcp_proxy(LOOPBACK, hidden.port, listen_port=envoy.replica_listener.port) as proxy,
    ):
        await envoy.wait_for_success()
        stream = envoy.call.list_books()
        assert (await stream.read()).book_id == "first"
        proxy.close_connections()
        with pytest.raises(grpc.aio.AioRpcError, match="RST_STREAM") as failure:
            await stream.read()
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "x-envoy-response-flags" not in dict(failure.value.trailing_metadata())


async def test_errors_of_the_service_pass_unchanged(envoy: EnvoyHarness) -> None:
    """With code, message and details, and without flags."""
    envoy.replica.handler = failing(grpc.StatusCode.UNAVAILABLE, "database is away", detail="why")
    result = await envoy.call()
    assert (result.code, result.details, result.flags) == (grpc.StatusCode.UNAVAILABLE, "database is away", "")
    assert result.trailing["detail"] == "why"
    assert len(envoy.replica.received) == 1


@pytest.mark.parametrize("path", ["/graphmesh.unknown.v1.UnknownService/Get", "/graphmesh.books.v1.BookService/Lend"])
async def test_unknown_methods_are_unimplemented(envoy: EnvoyHarness, path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await envoy.call.raw(path)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure.value.details() == "the mesh has no such method"


async def test_rate_limit(tmp_path: Path) -> None:
    """RL: calls above the rate limit are never sent, and refused with the seconds until the next token."""
    async with envoy_with_replica(books_mesh(), tmp_path) as envoy:
        envoy.change(policy={"rateLimit": {"calls": 3, "period": "30s"}})

        async def is_limited() -> bool:
            return (await envoy.call()).code is grpc.StatusCode.RESOURCE_EXHAUSTED

        await eventually(is_limited)
        envoy.replica.received.clear()
        result = await envoy.call("PutBook")
    assert (result.code, result.flags) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RL")
    assert 0 < int(result.trailing["x-ratelimit-reset"]) <= 10
    assert not envoy.replica.received


async def test_no_rate_limit_without_a_policy(envoy: EnvoyHarness) -> None:
    assert {(await envoy.call()).code for _ in range(50)} == {grpc.StatusCode.OK}
