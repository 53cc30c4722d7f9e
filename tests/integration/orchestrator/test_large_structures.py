"""Structures at the bounds delay no other tenant, and structures beyond them are refused at once."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.wire_bounds import MAX_ELEMENTS
from graphmesh_contracts import to_struct

from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODULE = '''
"""Count the items."""
from typing import Any
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict, total=False):
    items: list[str | None]
    count: int

async def count(state: State) -> dict:
    return {"count": len(state["items"])}

graph = StateGraph(State)
graph.add_node("count", count)
graph.add_edge(START, "count")
graph.add_edge("count", END)
'''
ROUNDS = 4
"""Rounds of which the quietest counts: other processes of the machine may delay some of them."""
SECONDS = 3
"""Of each measurement."""
MAX_DELAY = 0.1
"""Seconds that the 99th percentile of another tenant's calls may grow by; on a busy machine three times its quiet
value. Without the bounds it grows by many seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counting_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("large")
    (folder / "counting.py").write_text(MODULE)
    async with serve_billing(folder) as billing, serve_orchestrator(folder, billing) as mesh:
        yield mesh


@asynccontextmanager
async def hostile_client(mesh: Mesh, elements: int) -> AsyncIterator[None]:
    """Send runs of many elements, and read and list them, from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("structure_client.py")),
        mesh.address,
        str(elements),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        assert (await asyncio.wait_for(process.stdout.readline(), 60)).strip() == b"sending"
        yield
    finally:
        process.kill()
        await process.wait()


async def latencies(mesh: Mesh, run: pb.Run) -> list[float]:
    """Seconds of each of the calls that a tenant makes one after the other."""
    found = []
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        began = time.monotonic()
        await mesh.call(pb.RunService.GetRun, pb.GetRunRequest(run_id=run.run_id))
        found.append(time.monotonic() - began)
        await asyncio.sleep(0.005)
    return found


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


@pytest.mark.parametrize("elements", [MAX_ELEMENTS - 1, 1_000_000], ids=["at the bound", "beyond it"])
async def test_large_structures_delay_no_other_tenant(counting_mesh: Mesh, elements: int) -> None:
    async with counting_mesh.as_new_tenant() as watching:
        run = await watching.run("counting", items=["a"])
        delays = []
        for _ in range(ROUNDS):
            quiet = p99(await latencies(watching, run))
            async with hostile_client(watching, elements):
                delays.append((p99(await latencies(watching, run)) - quiet) / max(MAX_DELAY, 3 * quiet))
            if min(delays) < 1:
                break

        assert min(delays) < 1


async def test_structure_beyond_the_bound_is_refused_by_name(counting_mesh: Mesh) -> None:
    request = pb.CreateRunRequest(graph="counting", input=to_struct({"items": [None] * MAX_ELEMENTS}))

    with pytest.raises(InvalidRequest, match="input: has more than 50000 members and elements"):
        await counting_mesh.call(pb.RunService.CreateRun, request)


async def test_structure_at_the_bound_is_executed(counting_mesh: Mesh) -> None:
    run = await counting_mesh.run("counting", items=[None] * (MAX_ELEMENTS - 1))

    assert run.output["count"] == MAX_ELEMENTS - 1
