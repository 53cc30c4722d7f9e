"""The circuit breaker opens on infrastructure failures and closes after its cooling period; health checks."""

import time
from pathlib import Path

import grpc
import pytest
from graphmesh_mesh.envoy.clusters import ClusterSettings
from grpc_health.v1 import health_pb2

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import (
    EnvoyHarness,
    Replica,
    books_mesh,
    envoy_with_replica,
    eventually,
    failing,
    respond,
    running_envoy,
)


async def test_opens_after_consecutive_failures_and_closes_after_cooling(tmp_path: Path) -> None:
    """Three consecutive UNAVAILABLE open it for its whole cooling period, though health checks pass meanwhile."""
    async with envoy_with_replica(
        books_mesh(policy={"breaker": {"coolingPeriod": "3s", "maxCoolingPeriod": "60s"}}), tmp_path
    ) as envoy:
        envoy.replica.handler, before = failing(grpc.StatusCode.UNAVAILABLE), time.monotonic()
        assert [(await envoy.call()).flags for _ in range(3)] == ["", "", ""]
        await envoy.wait_for_no_replica()
        envoy.replica.handler = respond
        await envoy.wait_for_success()
        assert time.monotonic() - before > 2.5


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED],
)
async def test_errors_of_the_service_do_not_open_it(envoy: EnvoyHarness, code: grpc.StatusCode) -> None:
    """Rule violations, defects and refusals come from a reachable replica."""
    envoy.replica.handler = failing(code)
    assert {(await envoy.call()).code for _ in range(10)} == {code}


async def test_failed_connections_open_it(tmp_path: Path) -> None:
    """Failed connections count; after a few, calls fail fast, long before the next health check."""
    settings = ClusterSettings(health_check_interval=60)
    mesh, replica = books_mesh(), Replica()
    listener = mesh.services["books"].replica_listeners[0]
    async with replica.serving(listener) as server, running_envoy(mesh, tmp_path, replica, settings) as envoy:
        await envoy.wait_for_success()
        await server.stop(None)
        await envoy.wait_for_no_replica()


async def test_a_success_resets_the_count_of_failures(envoy: EnvoyHarness) -> None:
    for _ in range(4):
        envoy.replica.handler = failing(grpc.StatusCode.UNAVAILABLE)
        await envoy.call()
        await envoy.call()
        envoy.replica.handler = respond
        assert (await envoy.call()).code is grpc.StatusCode.OK


async def test_one_failing_replica_of_two_is_ejected(tmp_path: Path) -> None:
    """Each replica has a breaker of its own: the healthy one gets all calls."""
    mesh, bad = books_mesh(replicas=2), Replica()
    bad.handler = failing(grpc.StatusCode.UNAVAILABLE)
    first, second = mesh.services["books"].replica_listeners
    async with running_envoy(mesh, tmp_path) as envoy, envoy.replica.serving(first), bad.serving(second):

        async def has_failed() -> bool:
            await envoy.call()
            return len(bad.received) >= 3

        await eventually(has_failed)

        async def is_ejected() -> bool:
            before = len(bad.received)
            codes = {(await envoy.call()).code for _ in range(10)}
            return codes == {grpc.StatusCode.OK} and len(bad.received) == before

        await eventually(is_ejected)


async def test_a_replica_that_is_not_serving_gets_no_calls(envoy: EnvoyHarness) -> None:
    """NOT_SERVING for the service's own name ejects a replica, SERVING readmits it."""
    envoy.replica.health = health_pb2.HealthCheckResponse.NOT_SERVING
    await envoy.wait_for_no_replica()
    assert envoy.replica.health_checks == {books_contract.SERVICE}
    envoy.replica.health = health_pb2.HealthCheckResponse.SERVING
    await envoy.wait_for_success()


async def test_a_restarted_replica_gets_calls_again(tmp_path: Path) -> None:
    """While it is down, calls fail fast; after its restart calls succeed without any reset."""
    async with running_envoy(books_mesh(), tmp_path) as envoy:
        async with envoy.replica.serving(envoy.replica_listener):
            await envoy.wait_for_success()
        await envoy.wait_for_no_replica()
        async with envoy.replica.serving(envoy.replica_listener):
            await envoy.wait_for_success()
