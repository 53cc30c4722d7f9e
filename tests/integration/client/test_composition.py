"""A graph of the mesh as a node of a LangGraph program: the program's repeats do not repeat runs."""

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
from tests.integration.orchestrator import graphs, interrupt_graphs
from tests.integration.orchestrator.gates import GATES, PASSED
from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")


def new_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": uuid4().hex}}


@asynccontextmanager
async def program_process(mesh: Mesh, database: str, action: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the program as a process."""
    argv = ("-m", "tests.integration.client.program", mesh.address, mesh.tenant, database, action)
    started = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def test_a_restarted_program_finds_its_run(mesh: Mesh, postgres_url: str) -> None:
    """Killed while its node waits for the mesh, it resumes as another process: one run, executed once."""
    database = postgres_url.replace("postgresql+psycopg", "postgresql")
    async with program_process(mesh, database, "begin"):
        async with asyncio.timeout(60):
            while not (begun := await mesh.client.list_runs(graph="gated")):
                await asyncio.sleep(0.05)
    GATES["program"].set()
    async with program_process(mesh, database, "resume") as second, asyncio.timeout(60):
        output, _ = await second.communicate()
    assert json.loads(output) == {"name": "program", "mine": "not the mesh's", "notes": ["program", "done", "after"]}
    assert [run.run_id for run in await mesh.client.list_runs(graph="gated")] == [begun[0].run_id]
    assert PASSED.count("program") == 1


async def test_interrupts_of_the_run_interrupt_the_program(mesh: Mesh) -> None:
    """The program's answers become the answers of the run."""
    graph = program(RemoteGraph(mesh.client, "ask_twice")).compile(checkpointer=InMemorySaver())
    config = new_thread()
    for answer, question in ((None, {"ask": "how many?"}), (3, "sure?")):
        given: Any = Command(resume=answer) if answer else {"name": "x"}
        [interrupt] = (await graph.ainvoke(given, config, durability="sync"))["__interrupt__"]
        assert interrupt.value == question
    [task] = (await graph.aget_state(config, subgraphs=True)).tasks
    assert [one.value for one in task.state.interrupts] == ["sure?"]  # type: ignore[union-attr]
    ended = await graph.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended["notes"] == ["begun", "3, yes", "done", "after"]
    assert len(await mesh.client.list_runs(graph="ask_twice")) == 1


async def test_concurrent_interrupts_are_raised_one_at_a_time(mesh: Mesh) -> None:
    graph = program(RemoteGraph(mesh.client, "ask_both")).compile(checkpointer=InMemorySaver())
    config = new_thread()
    [first] = (await graph.ainvoke({"name": "x"}, config))["__interrupt__"]
    [second] = (await graph.ainvoke(Command(resume={first.id: "first"}), config))["__interrupt__"]
    ended = await graph.ainvoke(Command(resume="second"), config)
    assert {first.value, second.value} == {"left", "right"}
    expected = {f"{first.value} first", f"{second.value} second", "done", "after"}
    assert set(ended["notes"]) == expected


async def test_an_approval_interrupts_the_program_until_it_is_answered(mesh: Mesh) -> None:
    """The interrupt has the approval's id; after the answer in the mesh the program resumes, with one charge."""
    invoice = await mesh.create_invoice()
    graph = StateGraph(graphs.State)
    graph.add_node("mesh", RemoteGraph(mesh.client, "approved_by_rule"))
    graph.add_edge(START, "mesh")
    compiled, config = graph.compile(checkpointer=InMemorySaver()), new_thread()
    given: Any = {"invoice_id": invoice, "amount": 1000}
    [interrupt] = (await compiled.ainvoke(given, config))["__interrupt__"]
    assert (await compiled.ainvoke(None, config))["__interrupt__"] == [interrupt]
    assert await mesh.count_charges(invoice) == 0
    await mesh.client.approvals.respond(interrupt.value["approval_id"], approve=True)
    assert (await compiled.ainvoke(None, config))["notes"] == ["charged 1000"]
    assert await mesh.count_charges(invoice) == 1


async def test_no_run_begins_before_the_checkpoint_of_its_task_is_stored(mesh: Mesh) -> None:
    """Where the program is a graph of the mesh, which runs ahead of its checkpoints."""

    class FencedBuffer:
        async def flush(self) -> None:
            raise Fenced(run="run_1", epoch=1)

    compiled = program(RemoteGraph(mesh.client, "gated")).compile(checkpointer=InMemorySaver())
    config = new_thread()
    config["configurable"][WRITE_BEHIND_KEY] = FencedBuffer()
    with pytest.raises(Fenced):
        await compiled.ainvoke({"name": "x"}, config, durability="sync")
    assert await mesh.client.list_runs(graph="gated") == []


async def test_each_task_has_its_own_run(mesh: Mesh) -> None:
    """Two nodes of one program, its next run on the same thread, and calls with different names share no run."""
    GATES["open"].set()

    async def twice(state: State) -> dict[str, Any]:
        found = [await RemoteGraph(mesh.client, "gated", name=name).ainvoke(state) for name in ("one", "two")]
        return {"notes": [note for output in found for note in output["notes"]]}

    graph = StateGraph(State)
    graph.add_node("mesh", RemoteGraph(mesh.client, "gated"))
    graph.add_node("twice", twice)
    graph.add_edge(START, "mesh")
    graph.add_edge("mesh", "twice")
    graph.add_edge("twice", END)
    compiled, config = graph.compile(checkpointer=InMemorySaver()), new_thread()
    for times in (1, 2):
        ended = await compiled.ainvoke({"name": "open"}, config)
        assert ended["notes"] == ["open", "done"] * 3 * times
        assert len(await mesh.client.list_runs(graph="gated")) == 3 * times


async def test_a_failed_run_fails_its_node(mesh: Mesh) -> None:
    """With the run's own error; a retry of the node does not begin another run."""
    graph = StateGraph(graphs.State)
    graph.add_node("mesh", RemoteGraph(mesh.client, "failing"), retry_policy=RetryPolicy(initial_interval=0.01))
    graph.add_edge(START, "mesh")
    with pytest.raises(GraphmeshError) as failed:
        await graph.compile().ainvoke({"invoice_id": "x", "amount": 1})
    assert failed.value.reason == "NODE_FAILED"
    assert [run.status for run in await mesh.client.list_runs()] == [RunStatus.RUN_STATUS_ERROR]


async def test_the_program_streams_the_events_of_the_run(mesh: Mesh) -> None:
    """With `subgraphs`, under the node's namespace, as of a local subgraph."""
    GATES["open"].set()
    graph = program(RemoteGraph(mesh.client, "gated")).compile(checkpointer=InMemorySaver())
    parts = [part async for part in graph.astream({"name": "open"}, new_thread(), subgraphs=True)]
    inner = [data for namespace, data in parts if namespace]
    assert inner == [{"gate": {"notes": ["open"]}}, {"end": {"notes": ["done"]}}]
    assert [namespace[0].partition(":")[0] for namespace, _ in parts if namespace] == ["mesh", "mesh"]


async def test_node_streams_in_each_mode_of_the_program(mesh: Mesh) -> None:
    """As the same graph within the program does."""
    modes: Any = ["values", "updates", "tasks", "checkpoints", "custom", "debug", "messages"]
    parts = {}
    for side, node in (("local", interrupt_graphs.nested.compile()), ("remote", RemoteGraph(mesh.client, "nested"))):
        graph = program(node).compile(checkpointer=InMemorySaver())
        stream: Any = graph.astream({"name": "x"}, new_thread(), subgraphs=True, stream_mode=modes)
        parts[side] = [shape(*part) async for part in stream if part[0]]
    assert {mode for _, mode, _ in parts["remote"]} == {*modes} - {"messages"}
    for mode in modes:
        remote, local = ([part for part in parts[side] if part[1] == mode] for side in ("remote", "local"))
        assert remote == local, mode


def shape(namespace: Any, mode: str, data: Any) -> tuple[list[str], str, Any]:
    """Return a part without what differs from run to run: the nodes around, the mode, and the data or its names."""
    payload = data.get("payload", data) if mode == "debug" else data
    if mode in ("tasks", "checkpoints", "debug"):
        payload = {name: payload.get(name) for name in ("name", "next")} | {"keys": sorted(payload)}
    return [level.partition(":")[0] for level in namespace], mode, payload


async def test_node_streams_the_messages_of_models(mesh: Mesh) -> None:
    """With their metadata."""
    graph = StateGraph(graphs.State)
    graph.add_node("mesh", RemoteGraph(mesh.client, "talking"))
    graph.add_edge(START, "mesh")
    given: Any = {"invoice_id": "x", "amount": 1}
    parts: list[Any] = [part async for part in graph.compile().astream(given, subgraphs=True, stream_mode="messages")]
    assert "".join(message.content for _, (message, _) in parts) == "ink dries in the feed"
    assert {(metadata["langgraph_node"], metadata["langgraph_step"]) for _, (_, metadata) in parts} == {("talk", 1)}


async def test_mode_that_runs_do_not_have_is_refused(mesh: Mesh) -> None:
    graph = program(RemoteGraph(mesh.client, "nested")).compile(checkpointer=InMemorySaver())
    mode: Any = "tools"
    with pytest.raises(NotImplementedError, match="stream mode tools"):
        _ = [part async for part in graph.astream({"name": "x"}, new_thread(), subgraphs=True, stream_mode=mode)]
    assert await mesh.client.list_runs(graph="nested") == []


async def test_assistant_is_a_node(mesh: Mesh) -> None:
    """It gets only the fields that its graph takes."""
    GATES["assisted"].set()
    made = await mesh.client.assistants.create("gated")
    node = RemoteGraph(mesh.client, assistant=made.assistant_id, assistant_version=1)
    output = await program(node).compile(checkpointer=InMemorySaver()).ainvoke({"name": "assisted"}, new_thread())
    assert output["notes"] == ["assisted", "done", "after"]
    [run] = await mesh.client.list_runs(assistant_id=made.assistant_id)
    assert (run.graph, run.assistant_version) == ("gated", 1)


async def test_the_graph_is_drawn_as_one_node(mesh: Mesh) -> None:
    drawn = program(RemoteGraph(mesh.client, "gated")).compile().get_graph(xray=True)
    assert set(drawn.nodes) == {"__start__", "before", "mesh", "after", "__end__"}
