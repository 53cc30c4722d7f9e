"""A client that reconnects gets each event of a run once, also across orchestrators."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import RunEvent, RunStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.backends import Postgres
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import TWO_REPLICAS, LocalMesh, start_mesh
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 60
RECONNECTIONS = 200


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, spawn: Spawner
) -> AsyncIterator[LocalMesh]:
    """Two orchestrators that serve the counting graph."""
    folder = tmp_path_factory.mktemp("counting")
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"counting": f"{Path(__file__).parent / 'counting_graph.py'}:counting"}}))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRAPHMESH_ORCHESTRATOR_GRAPHS", str(graphs))
        async with postgres.database() as url:
            environment.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", url)
            needed = mesh_of(folder, "orchestrator", orchestrator=TWO_REPLICAS)
            async with start_mesh(folder, spawn, needed) as mesh:
                yield mesh


async def begin_counting(client: Client, stop: Path) -> str:
    """Begin a run that counts until `stop` exists, and return its id."""
    return (await client.create_run("counting", {"stop": str(stop)}, recursion_limit=1000)).run_id


async def next_events(client: Client, run_id: str, after_seq: int, most: int) -> list[RunEvent]:
    """Receive at most `most` events, and close the connection while others are in flight."""
    found: list[RunEvent] = []
    async with aclosing(client.stream_run(run_id, after_seq)) as events:
        async for event in events:
            found.append(event)
            if len(found) == most:
                break
    return found


async def assert_complete(client: Client, run_id: str, seen: Sequence[RunEvent]) -> None:
    """Assert that the run succeeded, and that each event was received once, in order, with a count without gaps."""
    run = await client.get_run(run_id)
    assert run.status == RunStatus.RUN_STATUS_SUCCESS
    assert [event.seq for event in seen] == list(range(1, run.last_seq + 1))
    counts = [struct_value(event.custom)["count"] for event in seen if event.HasField("custom")]
    assert counts == list(range(1, struct_value(run.output)["count"] + 1))
    assert [event async for event in client.stream_run(run_id)] == list(seen)


async def test_200_reconnections(mesh: LocalMesh, tmp_path: Path) -> None:
    """At random points of an active run, through Envoy, to either orchestrator."""
    random, stop = Random(20_26), tmp_path / "stop"
    async with mesh.client(TIMEOUT) as client:
        run_id = await begin_counting(client, stop)
        seen: list[RunEvent] = []
        for _ in range(RECONNECTIONS):
            seen += await next_events(client, run_id, len(seen), random.randint(1, 5))
        assert (await client.get_run(run_id)).status == RunStatus.RUN_STATUS_RUNNING
        stop.touch()
        seen += [event async for event in client.stream_run(run_id, len(seen))]
        await assert_complete(client, run_id, seen)


async def test_a_rolling_restart_leaves_no_gap(mesh: LocalMesh, tmp_path: Path) -> None:
    """A client follows one stream while each orchestrator is restarted, and the run moves from one to the other."""
    stop, seen = tmp_path / "stop", list[RunEvent]()
    names = iter(["orchestrator-1", "orchestrator-2"])
    async with mesh.client(TIMEOUT) as client:
        run_id = await begin_counting(client, stop)
        async for event in client.stream_run(run_id):
            seen.append(event)
            if len(seen) % 50 == 0 and not stop.exists():
                if name := next(names, ""):
                    await mesh.restart_gracefully(name)
                else:
                    stop.touch()
        await assert_complete(client, run_id, seen)
        assert seen[-1].status_changed.status == RunStatus.RUN_STATUS_SUCCESS
        assert len([event for event in seen if event.status_changed.epoch]) > 1
