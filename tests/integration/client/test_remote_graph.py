"""RemoteGraph behaves as a compiled graph of LangGraph."""

from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import pytest
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import RemoteGraph
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Command, GraphOutput, StateSnapshot, StateUpdate

from tests.integration.orchestrator import interrupt_graphs
from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

Pregel = PregelProtocol[Any, Any, Any, Any]
Side = Literal["local", "remote"]


def graph_on(side: Side, mesh: Mesh, name: str) -> Pregel:
    if side == "remote":
        return RemoteGraph(mesh.client, name)
    local: Pregel = getattr(interrupt_graphs, name).compile(checkpointer=InMemorySaver())
    return local


def new_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": uuid4().hex}}


def without_ids(output: dict[str, Any]) -> dict[str, Any]:
    """Replace the interrupts of an output by their values, since ids differ between the graphs."""
    interrupts = output.get("__interrupt__")
    return output | ({"__interrupt__": [one.value for one in interrupts]} if interrupts else {})


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_interrupts_are_returned_and_answered(mesh: Mesh, side: Side) -> None:
    """One after the other."""
    graph, config = graph_on(side, mesh, "ask_twice"), new_thread()
    first = await graph.ainvoke({"name": "x"}, config)
    assert without_ids(first) == {"name": "x", "notes": ["begun"], "__interrupt__": [{"ask": "how many?"}]}
    second = await graph.ainvoke(Command(resume=3), config)
    assert without_ids(second)["__interrupt__"] == ["sure?"]
    assert (await graph.ainvoke(Command(resume="yes"), config))["notes"] == ["begun", "3, yes", "done"]


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_none_resumes_at_a_breakpoint(mesh: Mesh, side: Side) -> None:
    """After the state was changed, too. A question stays open."""
    graph, config = graph_on(side, mesh, "ask_twice"), new_thread()
    await graph.ainvoke({"name": "x"}, config, interrupt_before=["ask"])
    assert (await graph.aget_state(config)).next == ("ask",)
    for note in ("by", "hand"):
        await graph.aupdate_state(config, {"notes": [note]})
    for _ in range(2):
        output = without_ids(await graph.ainvoke(None, config))
        assert (output["notes"], output["__interrupt__"]) == (["begun", "by", "hand"], [{"ask": "how many?"}])


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_interrupted_output_has_no_private_channels(mesh: Mesh, side: Side) -> None:
    output = await graph_on(side, mesh, "ask_private").ainvoke({"name": "x"}, new_thread())
    assert without_ids(output) == {"name": "x", "notes": ["begun"], "__interrupt__": ["sure?"]}


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_concurrent_interrupts_are_answered_by_id(mesh: Mesh, side: Side) -> None:
    graph, config = graph_on(side, mesh, "ask_both"), new_thread()
    interrupts = (await graph.ainvoke({"name": "x"}, config))["__interrupt__"]
    with pytest.raises((ValueError, RuntimeError), match="id"):
        await graph.ainvoke(Command(resume="which?"), config)
    answers = {one.id: f"is {one.value}" for one in interrupts}
    ended = await graph.ainvoke(Command(resume=answers), config)
    assert sorted(ended["notes"]) == ["done", "left is left", "right is right"]


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_streams_have_the_same_parts(mesh: Mesh, side: Side) -> None:
    """A mode yields data, a list of modes pairs, `subgraphs` a namespace first; version 2 yields mappings."""
    graph, config = graph_on(side, mesh, "ask_twice"), new_thread()
    [begun, parked] = [part async for part in graph.astream({"name": "x"}, config, stream_mode="updates")]
    assert begun == {"note": {"notes": ["begun"]}}
    assert [one.value for one in parked["__interrupt__"]] == [{"ask": "how many?"}]
    pairs = [part async for part in graph.astream(Command(resume=1), config, stream_mode=["updates", "values"])]
    values: list[Any] = [data for mode, data in pairs if mode == "values"]
    assert without_ids(values[-1])["__interrupt__"] == ["sure?"]
    parts = [part async for part in graph.astream(Command(resume=2), config, subgraphs=True)]
    assert parts == [((), {"ask": {"notes": ["1, 2"]}}), ((), {"end": {"notes": ["done"]}})]
    output = await graph.ainvoke({"name": "y"}, new_thread(), version="v2")
    assert isinstance(output, GraphOutput)
    assert [one.value for one in output.interrupts] == [{"ask": "how many?"}]
    typed = [part async for part in graph.astream({"name": "y"}, new_thread(), version="v2")]
    assert typed[0] == {"type": "updates", "ns": (), "data": {"note": {"notes": ["begun"]}}}


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_streams_of_subgraphs_have_their_namespaces(mesh: Mesh, side: Side) -> None:
    graph = graph_on(side, mesh, "nested")
    modes: Any = ["updates", "custom"]
    parts = [part async for part in graph.astream({"name": "x"}, new_thread(), stream_mode=modes, subgraphs=True)]
    assert [([level.partition(":")[0] for level in namespace], mode, data) for namespace, mode, data in parts] == [
        (["inner"], "custom", {"step": "inner"}),
        (["inner"], "updates", {"step": {"notes": ["inner"]}}),
        ([], "updates", {"inner": {"name": "x", "notes": ["inner"]}}),
        ([], "updates", {"end": {"notes": ["done"]}}),
    ]
    own = [part async for part in graph.astream({"name": "x"}, new_thread(), stream_mode=modes)]
    assert [mode for mode, _ in own] == ["updates", "updates"]
    typed = [part async for part in graph.astream({"name": "x"}, new_thread(), subgraphs=True, version="v2")]
    assert [len(part["ns"]) for part in typed] == [1, 0, 0]


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_state_and_history(mesh: Mesh, side: Side) -> None:
    """A thread is read at its newest and at an older checkpoint, updated, and continued."""
    graph, config = graph_on(side, mesh, "gated"), new_thread()
    GATES["open"].set()
    await graph.ainvoke({"name": "open"}, config)
    state = await graph.aget_state(config)
    assert (state.values["notes"], state.next) == (["open", "done"], ())
    history = [one async for one in graph.aget_state_history(config)]
    assert [one.values.get("notes", []) for one in history] == [["open", "done"], ["open"], [], []]
    [newest] = [one async for one in graph.aget_state_history(config, limit=1)]
    assert newest.config["configurable"]["checkpoint_id"] == state.config["configurable"]["checkpoint_id"]
    before = [one async for one in graph.aget_state_history(config, before=history[1].config)]
    assert [one.config for one in before] == [one.config for one in history[2:]]
    loop = [one async for one in graph.aget_state_history(config, filter={"source": "input"})]
    assert [one.next for one in loop] == [("__start__",)]
    older = await graph.aget_state(history[1].config)
    assert (older.values["notes"], older.next) == (["open"], ("end",))
    changed = await graph.aupdate_state(config, {"notes": ["by hand"]}, as_node="gate")
    assert (await graph.aget_state(changed)).next == ("end",)
    await graph.abulk_update_state(config, [[StateUpdate({"notes": ["again"]}, "gate")]])
    assert (await graph.ainvoke(None, config))["notes"] == ["open", "done", "by hand", "again", "done"]


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_state_of_a_subgraph(mesh: Mesh, side: Side) -> None:
    graph, config = graph_on(side, mesh, "ask_nested"), new_thread()
    await graph.ainvoke({"name": "x"}, config)
    [task] = (await graph.aget_state(config)).tasks
    assert (task.name, [one.value for one in task.interrupts]) == ("inner", ["deep"])
    assert isinstance(task.state, dict)
    inner = await graph.aget_state(task.state)
    assert (inner.values["name"], inner.next) == ("x", ("ask",))
    history = [one async for one in graph.aget_state_history(task.state)]
    assert [one.next for one in history] == [("ask",), ("__start__",)]
    older = await graph.aget_state(history[1].config)
    assert older.next == ("__start__",)
    [task] = (await graph.aget_state(config, subgraphs=True)).tasks
    assert isinstance(task.state, StateSnapshot)
    assert (task.state.values["name"], task.state.next) == ("x", ("ask",))


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_every_mode_is_streamed(mesh: Mesh, side: Side) -> None:
    """In the order of LangGraph, with the keys and the values of its parts."""
    graph = graph_on(side, mesh, "nested")
    modes: Any = ["values", "updates", "tasks", "checkpoints", "custom", "debug", "messages"]
    parts = [part async for part in graph.astream({"name": "x"}, new_thread(), stream_mode=modes)]
    by_mode: dict[str, list[Any]] = {mode: [data for other, data in parts if other == mode] for mode in modes}
    assert [one.get("notes", []) for one in by_mode["values"]] == [[], ["inner"], ["inner", "done"]]
    assert [one["name"] for one in by_mode["tasks"]] == ["inner", "inner", "end", "end"]
    assert by_mode["tasks"][1]["result"]["notes"] == ["inner"]
    assert [one["next"] for one in by_mode["checkpoints"]] == [["__start__"], ["inner"], ["end"], []]
    assert [one["type"] for one in by_mode["debug"]][:3] == ["checkpoint", "checkpoint", "task"]
    assert len(by_mode["updates"]) == 2
    alone = [part async for part in graph.astream({"name": "x"}, new_thread(), stream_mode="values")]
    assert [one.get("notes", []) for one in alone] == [[], ["inner"], ["inner", "done"]]


async def test_mode_of_a_run_that_is_resumed_was_chosen_when_it_began(mesh: Mesh) -> None:
    graph, config = RemoteGraph(mesh.client, "ask_twice"), new_thread()
    assert [part async for part in graph.astream({"name": "x"}, config, stream_mode="tasks")]
    tasks = [part async for part in graph.astream(Command(resume=1), config, stream_mode="tasks")]
    assert [task["name"] for task in tasks] == ["ask", "ask"]


async def test_text_of_models_is_streamed(mesh: Mesh) -> None:
    talking = RemoteGraph(mesh.client, "talking")
    chunks = [part async for part in talking.astream({"invoice_id": "x", "amount": 1}, stream_mode="messages")]
    assert "".join(chunk.content for chunk, _ in chunks) == "ink dries in the feed"
    assert {about["langgraph_node"] for _, about in chunks} == {"talk"}


async def test_a_failed_run_raises_its_error(mesh: Mesh) -> None:
    """With its own reason, not with one of LangGraph's."""
    with pytest.raises(GraphmeshError) as failed:
        await RemoteGraph(mesh.client, "failing").ainvoke({"invoice_id": "x", "amount": 1})
    assert failed.value.reason == "NODE_FAILED"
    with pytest.raises(GraphmeshError, match="3 supersteps"):
        await RemoteGraph(mesh.client, "loop", recursion_limit=3).ainvoke({"invoice_id": "x", "amount": 1})


async def test_options_and_config_are_kept(mesh: Mesh) -> None:
    """Options apply to every run; a bound config is merged with that of the call."""
    bound = RemoteGraph(mesh.client, "talking", labels={"by": "test"}).with_config(configurable={"thread_id": "bound"})
    await bound.ainvoke({"invoice_id": "x", "amount": 1})
    [run] = await mesh.client.list_runs(thread_id="bound")
    assert (run.labels["by"], run.status) == ("test", RunStatus.RUN_STATUS_SUCCESS)


async def test_unsupported_features_are_refused(mesh: Mesh) -> None:
    """With the alternative where one exists."""
    graph: Any = RemoteGraph(mesh.client, "ask_twice")
    with pytest.raises(NotImplementedError, match="async only: use ainvoke"):
        graph.invoke({"name": "x"})
    with pytest.raises(NotImplementedError, match="aget_state_history"):
        graph.get_state_history({})
    with pytest.raises(NotImplementedError, match="durability"):
        await graph.ainvoke({"name": "x"}, durability="async")
    with pytest.raises(NotImplementedError, match="stream modes but checkpoints, custom, debug, messages"):
        await anext(graph.astream({"name": "x"}, stream_mode="tools"))
    with pytest.raises(ValueError, match="no run of ask_twice waits for an answer on the thread idle"):
        await graph.ainvoke(Command(resume=1), {"configurable": {"thread_id": "idle"}})
    with pytest.raises(NotImplementedError, match="use astream"):
        graph.astream_events({"name": "x"}, version="v2")
    with pytest.raises(TypeError, match="must be a mapping, not str"):
        await graph.ainvoke("x")
    with pytest.raises(TypeError, match="must be a mapping, not str"):
        await graph.aupdate_state({"configurable": {"thread_id": "idle"}}, "x")
    with pytest.raises(NotImplementedError, match="goto"):
        await graph.ainvoke(Command(goto="ask"), {"configurable": {"thread_id": "idle"}})


async def test_a_run_of_another_graph_is_not_answered(mesh: Mesh) -> None:
    """Even if it is parked on the same thread."""
    config = new_thread()
    await RemoteGraph(mesh.client, "ask_twice").ainvoke({"name": "x"}, config)
    with pytest.raises(ValueError, match="no run of ask_both waits"):
        await RemoteGraph(mesh.client, "ask_both").ainvoke(Command(resume=1), config)
    [run] = await mesh.client.list_runs()
    assert run.status == RunStatus.RUN_STATUS_INTERRUPTED


async def test_a_time_without_a_zone_is_refused(mesh: Mesh) -> None:
    """It would be interpreted as UTC."""
    with pytest.raises(ValueError, match="zone"):
        await mesh.client.create_run("ask_twice", {"name": "x"}, schedule_time=datetime(2030, 1, 1))  # noqa: DTZ001
    assert not await mesh.client.list_runs()
