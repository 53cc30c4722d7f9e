"""Sizes of states: large values are stored separately, artifacts outside of the state, and too large states refused."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.mesh import Mesh, notes, reason, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODULE = '''
"""Write a report of `bytes` bytes, into the state or as an artifact, and read it in the next node."""
import operator
from typing import Annotated

from graphmesh_nodes import run_context
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

class Input(TypedDict):
    bytes: int
    as_artifact: bool

class State(Input, total=False):
    report: str
    notes: Annotated[list[str], operator.add]

async def write(state: State) -> dict:
    report = "x" * state["bytes"]
    if state["as_artifact"]:
        return {"report": await run_context().artifacts.put(report.encode(), "text/plain")}
    return {"report": report}

async def read(state: State) -> dict:
    report = state["report"]
    if state["as_artifact"]:
        report = await run_context().artifacts.get(report)
    return {"notes": [f"{len(report)}"]}

graph = StateGraph(State, input_schema=Input)
graph.add_node("write", write)
graph.add_node("read", read)
graph.add_edge(START, "write")
graph.add_edge("write", "read")
graph.add_edge("read", END)
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limited_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """An orchestrator that stores values of 10,000 bytes separately, and limits states to 100,000 bytes."""
    folder = tmp_path_factory.mktemp("limited")
    (folder / "reporting.py").write_text(MODULE)
    async with (
        serve_billing(folder) as billing,
        serve_orchestrator(folder, billing, artifact_bytes=10_000, max_state_bytes=100_000) as mesh,
    ):
        yield mesh


async def test_too_large_state_ends_the_run(limited_mesh: Mesh) -> None:
    """The error names the channel. The thread keeps its state of before, from which the next run begins."""
    run = await limited_mesh.run("reporting", bytes=200_000, as_artifact=False)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "STATE_TOO_LARGE")
    assert "report" in run.error.message
    again = await limited_mesh.create("reporting", {"bytes": 5, "as_artifact": False}, thread_id=run.thread_id)
    assert notes(await limited_mesh.wait(again)) == ["5"]


async def test_large_value_is_read_like_any_other(limited_mesh: Mesh) -> None:
    assert notes(await limited_mesh.run("reporting", bytes=60_000, as_artifact=False)) == ["60000"]


async def test_artifact_is_read_by_the_next_node(limited_mesh: Mesh) -> None:
    """The state has its URI."""
    run = await limited_mesh.run("reporting", bytes=1_000_000, as_artifact=True)
    assert notes(run) == ["1000000"]
    assert str(run.output["report"]).startswith("artifact:")
