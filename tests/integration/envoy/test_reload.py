"""An edit of mesh.yaml takes effect in a running Envoy, and interrupts no call."""

import asyncio
from pathlib import Path

import grpc
from graphmesh_mesh.envoy.clusters import ClusterSettings

from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, envoy_with_replica, eventually


async def test_a_new_timeout_applies_to_open_connections(envoy: EnvoyHarness) -> None:
    envoy.change(methods={"GetBook": {"timeout": "0.3s"}})

    async def is_shorter() -> bool:
        await envoy.call()
        return (envoy.replica.received[-1].remaining or 99) <= 0.3

    await eventually(is_shorter)


async def test_a_higher_cap_admits_more_calls(tmp_path: Path) -> None:
    """The active calls are not interrupted."""
    async with envoy_with_replica(books_mesh(), tmp_path, ClusterSettings(headroom=0)) as envoy:
        envoy.replica.handler = envoy.replica.block
        calls = [asyncio.create_task(envoy.call(timeout=None)) for _ in range(3)]
        await envoy.wait_for_calls(3)
        assert (await envoy.call()).flags == "UO"
        envoy.change(policy={"maxConcurrency": 9}, methods={"GetBook": {"timeout": "20s"}})

        async def admits_more() -> bool:
            calls.append(asyncio.create_task(envoy.call()))
            await asyncio.wait(calls[-1:], timeout=0.05)
            return len(envoy.replica.received) > 3

        await eventually(admits_more)
        envoy.replica.released.set()
        outcomes = await asyncio.gather(*calls)
    assert [outcome.code for outcome in outcomes[:3]] == [grpc.StatusCode.OK] * 3


async def test_an_unchanged_mesh_writes_no_file(envoy: EnvoyHarness) -> None:
    """So that Envoy reloads nothing."""
    before = {path: path.stat().st_mtime_ns for path in envoy.folder.iterdir()}
    envoy.change()
    assert before == {path: path.stat().st_mtime_ns for path in envoy.folder.iterdir()}
