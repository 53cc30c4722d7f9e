"""The breaker opens on infrastructure failures, cools, closes by itself, and health checks do the rest (D2)."""

import time
from pathlib import Path

import grpc
import pytest
from graphmesh_mesh.envoy import clusters
from grpc_health.v1 import health_pb2

from tests.integration.envoy import shelf
from tests.integration.envoy.rig import Replica, Rig, answer, envoy, eventually, refusing, shelf_mesh, standing


async def test_it_opens_and_closes(tmp_path: Path) -> None:
    """Three UNAVAILABLE in a row open it; it cools for its whole period, though health checks pass every second."""
    async with standing(
        shelf_mesh(policy={"breaker": {"coolingPeriod": "3s", "maxCoolingPeriod": "60s"}}), tmp_path
    ) as rig:
        rig.replica.answer, before = refusing(grpc.StatusCode.UNAVAILABLE), time.monotonic()
        assert [(await rig.call()).flags for _ in range(3)] == ["", "", ""]
        await rig.down()
        rig.replica.answer = answer
        await rig.up()
        assert time.monotonic() - before > 2.5


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED],
)
async def test_what_never_counts(rig: Rig, code: grpc.StatusCode) -> None:
    """Business errors, defects and refusals do not open it: the replica is there."""
    rig.replica.answer = refusing(code)
    assert {(await rig.call()).code for _ in range(10)} == {code}


async def test_a_dead_replica_opens_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that fail count too; after a few, calls fail fast, long before a health check is due."""
    monkeypatch.setattr(clusters, "HEALTH_CHECK_INTERVAL", 60.0)
    mesh, replica = shelf_mesh(), Replica()
    at = mesh.services["shelf"].replica_listeners[0]
    async with replica.serving(at) as server, envoy(mesh, tmp_path, replica) as rig:
        await rig.up()
        await server.stop(None)
        await rig.down()


async def test_a_success_between_failures_keeps_it_closed(rig: Rig) -> None:
    """Failures count in a row only."""
    for _ in range(4):
        rig.replica.answer = refusing(grpc.StatusCode.UNAVAILABLE)
        await rig.call()
        await rig.call()
        rig.replica.answer = answer
        assert (await rig.call()).code is grpc.StatusCode.OK


async def test_one_bad_replica_of_two(tmp_path: Path) -> None:
    """The breaker is the replica's: the other one takes over the calls."""
    mesh, bad = shelf_mesh(replicas=2), Replica()
    bad.answer = refusing(grpc.StatusCode.UNAVAILABLE)
    first, second = mesh.services["shelf"].replica_listeners
    async with envoy(mesh, tmp_path) as rig, rig.replica.serving(first), bad.serving(second):

        async def opened() -> bool:
            await rig.call()
            return len(bad.seen) >= 3

        await eventually(opened)

        async def spared() -> bool:
            before = len(bad.seen)
            codes = {(await rig.call()).code for _ in range(10)}
            return codes == {grpc.StatusCode.OK} and len(bad.seen) == before

        await eventually(spared)


async def test_a_replica_that_is_not_serving_gets_no_calls(rig: Rig) -> None:
    """NOT_SERVING of the service's own name takes a replica out, SERVING brings it back."""
    rig.replica.health = health_pb2.HealthCheckResponse.NOT_SERVING
    await rig.down()
    assert rig.replica.health_asked == {shelf.SERVICE}
    rig.replica.health = health_pb2.HealthCheckResponse.SERVING
    await rig.up()


async def test_a_replica_that_comes_back_is_found(tmp_path: Path) -> None:
    """Kill it: calls fail fast. Start it again: calls get through, with nothing to reset."""
    async with envoy(shelf_mesh(), tmp_path) as rig:
        async with rig.replica.serving(rig.replica_at):
            await rig.up()
        await rig.down()
        async with rig.replica.serving(rig.replica_at):
            await rig.up()
