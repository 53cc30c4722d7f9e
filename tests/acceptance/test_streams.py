"""A stream that breaks, again and again, is one stream (B4)."""

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

from tests.acceptance.shop import OwnShop, mesh_of, open_shop
from tests.acceptance.test_recovery import PATIENCE
from tests.acceptance.test_rolling import TWO, restart

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECONNECTIONS = 200


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> AsyncIterator[OwnShop]:
    """Two orchestrators, which know the graph that counts."""
    folder = tmp_path_factory.mktemp("counting")
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"counting": f"{Path(__file__).parent / 'counting.py'}:counting"}}))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRAPHMESH_ORCHESTRATOR_GRAPHS", str(graphs))
        async with postgres.database() as url:
            environment.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", url)
            async with open_shop(folder, mesh_of(folder, "orchestrator", orchestrator=TWO)) as shop:
                yield shop


async def begun(client: Client, stop: Path) -> str:
    """A run that counts until `stop` is there."""
    return (await client.create_run("counting", {"stop": str(stop)}, recursion_limit=1000)).run_id


async def next_events(client: Client, run_id: str, after_seq: int, most: int) -> list[RunEvent]:
    """A few events; the connection is given up with what is already on its way."""
    found: list[RunEvent] = []
    async with aclosing(client.stream_run(run_id, after_seq)) as events:
        async for event in events:
            found.append(event)
            if len(found) == most:
                break
    return found


async def each_once(client: Client, run_id: str, seen: Sequence[RunEvent]) -> None:
    """All events of a run that succeeded have been seen, each once, in order; the graph's own count without a gap."""
    run = await client.get_run(run_id)
    assert run.status == RunStatus.RUN_STATUS_SUCCESS
    assert [event.seq for event in seen] == list(range(1, run.last_seq + 1))
    counts = [struct_value(event.custom)["count"] for event in seen if event.HasField("custom")]
    assert counts == list(range(1, struct_value(run.output)["count"] + 1))
    assert [event async for event in client.stream_run(run_id)] == list(seen)


async def test_200_reconnections(shop: OwnShop, tmp_path: Path) -> None:
    """At random points of a run that goes on, through Envoy, to whichever orchestrator answers."""
    random, stop = Random(20_26), tmp_path / "stop"
    async with shop.client(PATIENCE) as client:
        run_id = await begun(client, stop)
        seen: list[RunEvent] = []
        for _ in range(RECONNECTIONS):
            seen += await next_events(client, run_id, len(seen), random.randint(1, 5))
        assert (await client.get_run(run_id)).status == RunStatus.RUN_STATUS_RUNNING
        stop.touch()
        seen += [event async for event in client.stream_run(run_id, len(seen))]
        await each_once(client, run_id, seen)


async def test_a_rolling_restart_leaves_no_gap(shop: OwnShop, tmp_path: Path) -> None:
    """Each orchestrator is restarted while a client watches: it sees one stream, of a run that both have worked on."""
    stop, seen = tmp_path / "stop", list[RunEvent]()
    names = iter(["orchestrator-1", "orchestrator-2"])
    async with shop.client(PATIENCE) as client:
        run_id = await begun(client, stop)
        async for event in client.stream_run(run_id):
            seen.append(event)
            if len(seen) % 50 == 0 and not stop.exists():
                if name := next(names, ""):
                    await restart(shop, name)
                else:
                    stop.touch()
        await each_once(client, run_id, seen)
        assert seen[-1].status_changed.status == RunStatus.RUN_STATUS_SUCCESS
        assert len([event for event in seen if event.status_changed.epoch]) > 1
