"""A node whose run is cut off while the edge behind it decides is done again: its way on is not lost (C1, B4)."""

import asyncio
from pathlib import Path
from uuid import uuid4

from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating

GRAPH = """
import operator
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.integration.orchestrator.gates import GATES


class Input(TypedDict):
    name: str


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


async def which(state: State) -> str:
    GATES[f"{state['name']} reached"].set()
    await GATES[state["name"]].wait()
    return "after"


graph = StateGraph(State, input_schema=Input)
graph.add_node("before", lambda state: {"notes": ["before"]})
graph.add_node("after", lambda state: {"notes": ["after"]})
graph.add_edge(START, "before")
graph.add_conditional_edges("before", which, ["after", END])
graph.add_edge("after", END)
"""


async def at_the_edge(kit: Kit, name: str) -> pb.Run:
    """A run whose first node has returned, and whose next one is not chosen before its gate is open."""
    run = await kit.create("choosing", {"name": name})
    async with asyncio.timeout(60):
        await GATES[f"{name} reached"].wait()
    return run


async def test_a_run_of_a_process_that_stops_goes_on_behind_the_edge(tmp_path: Path) -> None:
    (tmp_path / "choosing.py").write_text(GRAPH)
    name = uuid4().hex
    async with billing_of(tmp_path) as billing:
        async with orchestrating(tmp_path, billing, drain_seconds=0.2) as kit:
            run = await at_the_edge(kit, name)
        GATES[name].set()
        async with orchestrating(tmp_path, billing) as kit:
            ended = await kit.stopped(run.run_id)
    assert (ended.status, notes(ended)) == (pb.RunStatus.RUN_STATUS_SUCCESS, ["before", "after"])


async def test_a_cancelled_run_is_gone_on_with_behind_the_edge(tmp_path: Path) -> None:
    (tmp_path / "choosing.py").write_text(GRAPH)
    name = uuid4().hex
    async with billing_of(tmp_path) as billing, orchestrating(tmp_path, billing) as kit:
        run = await at_the_edge(kit, name)
        await kit.client.cancel_run(run.run_id, "for a moment")
        cancelled = await kit.stopped(run.run_id)
        GATES[name].set()
        again = await kit.stopped((await kit.create("choosing", thread_id=run.thread_id)).run_id)
    assert cancelled.status == pb.RunStatus.RUN_STATUS_CANCELLED
    assert (again.status, notes(again)) == (pb.RunStatus.RUN_STATUS_SUCCESS, ["before", "after"])
