"""What a caller sees of each failure: the remote node decides by it whether a call may have happened."""

import asyncio
from pathlib import Path

import grpc
import pytest
from graphmesh_local.child_process import reserve_port
from graphmesh_mesh.envoy import clusters
from graphmesh_mesh.topology import Listener

from tests.integration.envoy.rig import Replica, Rig, Wire, envoy, eventually, refusing, shelf_mesh, standing


async def test_no_replica_was_ever_there(tmp_path: Path) -> None:
    """UH: no healthy replica, so nothing was sent (D2)."""
    async with envoy(shelf_mesh(), tmp_path) as rig:
        seen = await rig.call()
    assert (seen.code, seen.flags, seen.details) == (grpc.StatusCode.UNAVAILABLE, "UH", "no healthy upstream")
    assert not seen.initial


async def test_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UO: the guard stops what is over cap, queue and headroom; at once and unsent (D2)."""
    monkeypatch.setattr(clusters, "HEADROOM", 0)
    async with standing(shelf_mesh(), tmp_path) as rig:
        rig.replica.answer = rig.replica.held
        admitted = [asyncio.create_task(rig.call()) for _ in range(3)]
        await rig.inside(3)
        seen = await rig.call()
        rig.replica.released.set()
        await asyncio.gather(*admitted)
    assert (seen.code, seen.flags) == (grpc.StatusCode.UNAVAILABLE, "UO")
    assert seen.seconds < 5
    assert len(rig.replica.seen) == 3


async def test_the_service_refuses_before_the_guard_does(rig: Rig) -> None:
    """Calls far over cap and queue still reach the service: it answers with a reason and a time to come back (D3)."""
    rig.replica.answer = rig.replica.held
    calls = [asyncio.create_task(rig.call()) for _ in range(300)]
    await rig.inside(300)
    rig.replica.released.set()
    assert {one.code for one in await asyncio.gather(*calls)} == {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("method", "flags"),
    [("GetBook", "URX,UF"), ("PutBook", "URX,UF"), ("BurnBook", "UF")],
    ids=["read", "effect", "unknown"],
)
async def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, flags: str) -> None:
    """UF: no connection, nothing sent. It was tried again (URX) where the contract says what a repeat does (D2)."""
    monkeypatch.setattr(clusters, "HEALTH_CHECK_INTERVAL", 60.0)
    mesh, replica = shelf_mesh(), Replica()
    async with (
        replica.serving(mesh.services["shelf"].replica_listeners[0]) as server,
        envoy(mesh, tmp_path, replica) as rig,
    ):
        await rig.up()
        await server.stop(None)
        await rig.disconnected()
        seen = await rig.call(method)
    assert (seen.code, seen.flags) == (grpc.StatusCode.UNAVAILABLE, flags)


async def test_cut_off_before_the_answer(tmp_path: Path) -> None:
    """UC: the connection broke with the call inside. It may have happened, so Envoy does not try again (D4)."""
    mesh, hidden = shelf_mesh(), Listener(port=reserve_port())
    async with envoy(mesh, tmp_path) as rig, rig.replica.serving(hidden), Wire(rig.replica_at, hidden) as wire:
        await rig.up()
        rig.replica.seen.clear()
        rig.replica.answer = rig.replica.held
        call = asyncio.create_task(rig.call("PutBook"))
        await rig.inside(1)
        wire.cut()
        seen = await call
    assert (seen.code, seen.flags) == (grpc.StatusCode.UNAVAILABLE, "UC")
    assert [one.method for one in rig.replica.seen] == ["PutBook"]


async def test_cut_off_within_the_answer(tmp_path: Path) -> None:
    """A connection that breaks after the answer began is a bare INTERNAL: no flags, for the headers are out already."""
    mesh, hidden = shelf_mesh(), Listener(port=reserve_port())
    async with envoy(mesh, tmp_path) as rig, rig.replica.serving(hidden), Wire(rig.replica_at, hidden) as wire:
        await rig.up()
        stream = rig.call.books()
        assert (await stream.read()).book_id == "first"
        wire.cut()
        with pytest.raises(grpc.aio.AioRpcError, match="RST_STREAM") as failure:
            await stream.read()
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "x-envoy-response-flags" not in dict(failure.value.trailing_metadata())


async def test_a_service_s_own_error_passes_as_it_is(rig: Rig) -> None:
    """Code, message and details of a service's error arrive unchanged and without flags."""
    rig.replica.answer = refusing(grpc.StatusCode.UNAVAILABLE, "database is away", detail="why")
    seen = await rig.call()
    assert (seen.code, seen.details, seen.flags) == (grpc.StatusCode.UNAVAILABLE, "database is away", "")
    assert seen.trailing["detail"] == "why"
    assert len(rig.replica.seen) == 1


@pytest.mark.parametrize("path", ["/graphmesh.unknown.v1.UnknownService/Get", "/graphmesh.shelf.v1.ShelfService/Lend"])
async def test_a_method_that_is_not_there(rig: Rig, path: str) -> None:
    """Unknown services and methods are UNIMPLEMENTED, with a sentence."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await rig.call.raw(path)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure.value.details() == "the mesh has no such method"


async def test_rate_limit(tmp_path: Path) -> None:
    """RL: over the rate limit, calls are refused unsent, with the seconds after which to come back (D8)."""
    async with standing(shelf_mesh(), tmp_path) as rig:
        rig.change(policy={"rateLimit": {"calls": 3, "period": "30s"}})

        async def limited() -> bool:
            return (await rig.call()).code is grpc.StatusCode.RESOURCE_EXHAUSTED

        await eventually(limited)
        rig.replica.seen.clear()
        seen = await rig.call("PutBook")
    assert (seen.code, seen.flags) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RL")
    assert 0 < int(seen.trailing["x-ratelimit-reset"]) <= 10
    assert not rig.replica.seen


async def test_no_limit_is_no_limit(rig: Rig) -> None:
    """Without a rate limit in the policy, there is none."""
    assert {(await rig.call()).code for _ in range(50)} == {grpc.StatusCode.OK}
