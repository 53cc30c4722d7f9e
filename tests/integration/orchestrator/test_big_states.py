"""B1: what is too big for a state ends the run with a clear error; what is put aside can be read by later nodes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating
from tests.integration.orchestrator.test_runs import reason

MODULE = '''
"""Writes a report of so many bytes, into the state or aside."""
import operator
from typing import Annotated

from graphmesh_nodes import RunContext
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

class Given(TypedDict):
    bytes: int
    aside: bool

class State(Given, total=False):
    report: str
    notes: Annotated[list[str], operator.add]

async def write(state: State, runtime: Runtime[RunContext]) -> dict:
    report = "x" * state["bytes"]
    if state["aside"]:
        return {"report": await runtime.context.artifacts.put(report.encode(), "text/plain")}
    return {"report": report}

async def read(state: State, runtime: Runtime[RunContext]) -> dict:
    report = state["report"]
    if state["aside"]:
        report = await runtime.context.artifacts.get(report)
    return {"notes": [f"{len(report)}"]}

graph = StateGraph(State, context_schema=RunContext, input_schema=Given)
graph.add_node("write", write)
graph.add_node("read", read)
graph.add_edge(START, "write")
graph.add_edge("write", "read")
graph.add_edge("read", END)
'''


@pytest_asyncio.fixture
async def bounded(tmp_path: Path) -> AsyncIterator[Kit]:
    """An orchestrator whose states have 100,000 bytes at the most."""
    (tmp_path / "reporting.py").write_text(MODULE)
    async with (
        billing_of(tmp_path) as billing,
        orchestrating(tmp_path, billing, artifact_bytes=10_000, max_state_bytes=100_000) as kit,
    ):
        yield kit


async def test_a_state_that_is_too_big_ends_the_run(bounded: Kit) -> None:
    """The error names the channel, and the thread is as it was before: another run goes on with it."""
    run = await bounded.run("reporting", bytes=200_000, aside=False)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, "STATE_TOO_LARGE")
    assert "report" in run.error.message
    again = await bounded.create("reporting", {"bytes": 5, "aside": False}, thread_id=run.thread_id)
    assert notes(await bounded.stopped(again.run_id)) == ["5"]


async def test_what_is_below_the_bound_is_a_value_like_others(bounded: Kit) -> None:
    """Also where it is stored aside."""
    assert notes(await bounded.run("reporting", bytes=60_000, aside=False)) == ["60000"]


async def test_an_artifact_is_read_by_the_next_node(bounded: Kit) -> None:
    """The state has its URI."""
    run = await bounded.run("reporting", bytes=1_000_000, aside=True)
    assert notes(run) == ["1000000"]
    assert str(run.output["report"]).startswith("artifact:")
