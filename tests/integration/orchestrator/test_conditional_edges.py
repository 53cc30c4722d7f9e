"""A node is repeated if its execution ends while its conditional edge is evaluated, so the branch is not lost."""

import asyncio
from pathlib import Path
from uuid import uuid4

from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_mesh, serve_orchestrator

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


async def route(state: State) -> str:
    GATES[f"{state['name']} reached"].set()
    await GATES[state["name"]].wait()
    return "after"


graph = StateGraph(State, input_schema=Input)
graph.add_node("before", lambda state: {"notes": ["before"]})
graph.add_node("after", lambda state: {"notes": ["after"]})
graph.add_edge(START, "before")
graph.add_conditional_edges("before", route, ["after", END])
graph.add_edge("after", END)
"""


async def create_run_at_the_edge(mesh: Mesh, gate: str) -> pb.Run:
    """Create a run, and return when its first node has returned and its edge waits at the gate."""
    run = await mesh.create("choosing", {"name": gate})
    async with asyncio.timeout(60):
        await GATES[f"{gate} reached"].wait()
    return run


async def test_run_continues_after_the_edge_in_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "choosing.py").write_text(GRAPH)
    gate = uuid4().hex
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing, drain_seconds=0.2) as mesh:
            run = await create_run_at_the_edge(mesh, gate)
        GATES[gate].set()
        async with serve_orchestrator(tmp_path, billing) as mesh:
            ended = await mesh.wait(run)
    assert (ended.status, notes(ended)) == (pb.RunStatus.RUN_STATUS_SUCCESS, ["before", "after"])


async def test_thread_of_a_cancelled_run_continues_after_the_edge(tmp_path: Path) -> None:
    (tmp_path / "choosing.py").write_text(GRAPH)
    gate = uuid4().hex
    async with serve_mesh(tmp_path) as mesh:
        run = await create_run_at_the_edge(mesh, gate)
        await mesh.client.cancel_run(run.run_id, "interrupted")
        cancelled = await mesh.wait(run)
        GATES[gate].set()
        again = await mesh.wait(await mesh.create("choosing", thread_id=run.thread_id))
    assert cancelled.status == pb.RunStatus.RUN_STATUS_CANCELLED
    assert (again.status, notes(again)) == (pb.RunStatus.RUN_STATUS_SUCCESS, ["before", "after"])
