"""A graph of the mesh as a node of another program: what the program does again, the mesh does not (A4, C3)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_chassis.errors import Fenced, GraphmeshError
from graphmesh_client import RemoteGraph
from graphmesh_contracts import WRITE_BEHIND_KEY
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy

from tests.integration.client.program import State, program
from tests.integration.orchestrator import graphs
from tests.integration.orchestrator.gates import GATES, PASSED
from tests.integration.orchestrator.kit import Kit


def on_a_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": uuid4().hex}}


@asynccontextmanager
async def process(kit: Kit, database: str, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program as a process of its own."""
    argv = ("-m", "tests.integration.client.program", kit.address, database, what)
    started = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def test_a_killed_program_finds_its_run_again(kit: Kit, postgres_url: str) -> None:
    """Killed while its node waits for the mesh, it goes on as another process: one run, executed once."""
    database = postgres_url.replace("postgresql+psycopg", "postgresql")
    async with process(kit, database, "begin"):
        async with asyncio.timeout(60):
            while not (begun := await kit.client.list_runs(graph="gated")):
                await asyncio.sleep(0.05)
    GATES["program"].set()
    async with process(kit, database, "go-on") as second, asyncio.timeout(60):
        output, _ = await second.communicate()
    assert json.loads(output) == {"name": "program", "mine": "not the mesh's", "notes": ["program", "done", "after"]}
    assert [run.run_id for run in await kit.client.list_runs(graph="gated")] == [begun[0].run_id]
    assert PASSED.count("program") == 1


async def test_the_program_asks_what_the_mesh_asks(kit: Kit) -> None:
    """The node stops the program at each question of its run, and the program's answers are the run's."""
    graph = program(RemoteGraph(kit.client, "ask_twice")).compile(checkpointer=InMemorySaver())
    config = on_a_thread()
    for answer, question in ((None, {"ask": "how many?"}), (3, "sure?")):
        given: Any = Command(resume=answer) if answer else {"name": "x"}
        [asked] = (await graph.ainvoke(given, config, durability="sync"))["__interrupt__"]
        assert asked.value == question
    [task] = (await graph.aget_state(config, subgraphs=True)).tasks
    assert [one.value for one in task.state.interrupts] == ["sure?"]  # type: ignore[union-attr]
    ended = await graph.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended["notes"] == ["begun", "3, yes", "done", "after"]
    assert len(await kit.client.list_runs(graph="ask_twice")) == 1


async def test_questions_at_once_are_asked_one_by_one(kit: Kit) -> None:
    graph = program(RemoteGraph(kit.client, "ask_both")).compile(checkpointer=InMemorySaver())
    config = on_a_thread()
    [asked] = (await graph.ainvoke({"name": "x"}, config))["__interrupt__"]
    [second] = (await graph.ainvoke(Command(resume={asked.id: "first"}), config))["__interrupt__"]
    ended = await graph.ainvoke(Command(resume="second"), config)
    assert {asked.value, second.value} == {"left", "right"}
    expected = {f"{asked.value} first", f"{second.value} second", "done", "after"}
    assert set(ended["notes"]) == expected


async def test_an_approval_stops_the_program_until_it_is_answered(kit: Kit) -> None:
    """The question names the approval; answered in the mesh, the program goes on, and money moves once (E1)."""
    invoice = await kit.invoice()
    graph = StateGraph(graphs.State)
    graph.add_node("mesh", RemoteGraph(kit.client, "approved_by_rule"))
    graph.add_edge(START, "mesh")
    compiled, config = graph.compile(checkpointer=InMemorySaver()), on_a_thread()
    given: Any = {"invoice_id": invoice, "amount": 1000}
    [asked] = (await compiled.ainvoke(given, config))["__interrupt__"]
    assert (await compiled.ainvoke(None, config))["__interrupt__"] == [asked]
    assert await kit.charges(invoice) == 0
    await kit.client.approvals.respond(asked.value["approval_id"], approve=True)
    assert (await compiled.ainvoke(None, config))["notes"] == ["charged 1000"]
    assert await kit.charges(invoice) == 1


async def test_a_graph_of_the_mesh_as_the_program(kit: Kit) -> None:
    """It runs ahead of its checkpoints, but no run of its node begins before the task's own is stored (E4)."""

    class FencedBuffer:
        async def flush(self) -> None:
            raise Fenced(run="run_1", epoch=1)

    compiled = program(RemoteGraph(kit.client, "gated")).compile(checkpointer=InMemorySaver())
    config = on_a_thread()
    config["configurable"][WRITE_BEHIND_KEY] = FencedBuffer()
    with pytest.raises(Fenced):
        await compiled.ainvoke({"name": "x"}, config, durability="sync")
    assert await kit.client.list_runs(graph="gated") == []


async def test_each_task_has_a_run_of_its_own(kit: Kit) -> None:
    """Two nodes of one program, and the next run of it on the same thread, share nothing; names tell calls apart."""
    GATES["open"].set()

    async def twice(state: State) -> dict[str, Any]:
        found = [await RemoteGraph(kit.client, "gated", name=name).ainvoke(state) for name in ("one", "two")]
        return {"notes": [note for output in found for note in output["notes"]]}

    graph = StateGraph(State)
    graph.add_node("mesh", RemoteGraph(kit.client, "gated"))
    graph.add_node("twice", twice)
    graph.add_edge(START, "mesh")
    graph.add_edge("mesh", "twice")
    graph.add_edge("twice", END)
    compiled, config = graph.compile(checkpointer=InMemorySaver()), on_a_thread()
    for times in (1, 2):
        ended = await compiled.ainvoke({"name": "open"}, config)
        assert ended["notes"] == ["open", "done"] * 3 * times
        assert len(await kit.client.list_runs(graph="gated")) == 3 * times


async def test_a_failed_run_fails_its_node(kit: Kit) -> None:
    """With the run's own error; a program that tries its node again does not begin another run."""
    graph = StateGraph(graphs.State)
    graph.add_node("mesh", RemoteGraph(kit.client, "failing"), retry_policy=RetryPolicy(initial_interval=0.01))
    graph.add_edge(START, "mesh")
    with pytest.raises(GraphmeshError) as failed:
        await graph.compile().ainvoke({"invoice_id": "x", "amount": 1})
    assert failed.value.reason == "NODE_FAILED"
    assert [run.status for run in await kit.client.list_runs()] == [RunStatus.RUN_STATUS_ERROR]


async def test_the_program_streams_its_node(kit: Kit) -> None:
    """With `subgraphs`, what happens in the run comes under the node's namespace, as from a local subgraph."""
    GATES["open"].set()
    graph = program(RemoteGraph(kit.client, "gated")).compile(checkpointer=InMemorySaver())
    parts = [part async for part in graph.astream({"name": "open"}, on_a_thread(), subgraphs=True)]
    inner = [data for namespace, data in parts if namespace]
    assert inner == [{"gate": {"notes": ["open"]}}, {"end": {"notes": ["done"]}}]
    assert [namespace[0].partition(":")[0] for namespace, _ in parts if namespace] == ["mesh", "mesh"]


async def test_it_is_drawn_as_one_box(kit: Kit) -> None:
    drawn = program(RemoteGraph(kit.client, "gated")).compile().get_graph(xray=True)
    assert set(drawn.nodes) == {"__start__", "before", "mesh", "after", "__end__"}
