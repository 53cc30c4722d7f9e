"""Subgraphs are seen: their events carry their namespace, and their nodes count for the ceilings of the run."""

import asyncio
from typing import Any

import pytest
from graphmesh_nodes.budget import Limits
from graphmesh_nodes.unsaved_graphs import allow_unsaved_graphs
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventKind
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from tests.contract.stored_events import Event
from tests.unit.orchestrator.memory_orchestrator import error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import State, a_run, asks, logs, sequence
from tests.unit.orchestrator.test_open_effects import REFUNDED, RPC, Hanging, refund

Shown = list[tuple[str, str]]


async def speaks(state: State) -> State:
    get_stream_writer()({"step": "speaks"})
    model = GenericFakeChatModel(messages=iter([AIMessage("good day")]))
    await model.ainvoke("hi")
    return {"log": ["spoke"]}


def of_kind(events: Any, *kinds: EventKind) -> Shown:
    """Return the nodes around each event of these kinds, and its own node."""
    return [("/".join(_nodes(event)), event.node) for event in events if event.kind in kinds]


def _nodes(event: Event) -> list[str]:
    assert all(":" in level for level in event.namespace)
    return [level.partition(":")[0] for level in event.namespace]


def called_in_node(graph: StateGraph[Any, Any, Any, Any], *, sync: bool = False, **options: Any) -> Any:
    """Return a node that executes a graph in its code."""
    compiled = graph.compile(**options)

    async def node(state: State) -> State:
        return {"log": (await compiled.ainvoke({"log": []}))["log"]}

    def sync_node(state: State) -> State:
        return {"log": compiled.invoke({"log": []})["log"]}

    return sync_node if sync else node


def as_node(graph: StateGraph[Any, Any, Any, Any], **options: Any) -> Any:
    return graph.compile(**options)


@pytest.mark.parametrize("nest", [as_node, called_in_node], ids=["node", "called in a node"])
async def test_events_of_a_subgraph_have_its_namespace(nest: Any) -> None:
    async with open_orchestrator(sequence(outer=nest(sequence(inner=speaks)))) as here:
        run = await here.worker().execute(a_run())
        events = await here.events(run)

        nodes = of_kind(events, EventKind.NODE_STARTED, EventKind.NODE_FINISHED)
        assert nodes == [("", "outer"), ("outer", "inner"), ("outer", "inner"), ("", "outer")]
        assert of_kind(events, EventKind.CUSTOM) == [("outer", "")]
        text = [event for event in events if event.kind is EventKind.TEXT]
        assert "".join(event.data["text"] for event in text) == "good day"
        assert set(of_kind(text, EventKind.TEXT)) == {("outer", "inner")}
        assert run.accounting.usage.steps == 2


async def test_graphs_that_are_nested_twice_have_both_levels() -> None:
    inner = sequence(inner=speaks)
    async with open_orchestrator(sequence(a=as_node(sequence(b=called_in_node(inner))))) as here:
        run = await here.worker().execute(a_run())
        events = await here.events(run)

        assert of_kind(events, EventKind.NODE_STARTED) == [("", "a"), ("a", "b"), ("a/b", "inner")]
        assert of_kind(events, EventKind.CUSTOM) == [("a/b", "")]


async def test_events_of_a_graph_in_a_synchronous_node_arrive_in_order() -> None:
    def steps(state: State) -> State:
        for number in range(50):
            get_stream_writer()({"number": number})
        return {}

    async with open_orchestrator(sequence(outer=called_in_node(sequence(inner=steps), sync=True))) as here:
        run = await here.worker().execute(a_run())
        events = await here.events(run)

        assert await here.trace(run) == ["running", "+outer", "+inner", *["custom"] * 50, "-inner", "-outer", "success"]
        assert [event.data["number"] for event in events if event.kind is EventKind.CUSTOM] == list(range(50))


async def test_parallel_subgraphs_are_told_apart_by_their_tasks() -> None:
    inner = as_node(sequence(inner=speaks))
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("inner_graph", inner)
    graph.add_conditional_edges(START, lambda state: [Send("inner_graph", {"log": []})] * 3)
    async with open_orchestrator(graph) as here:
        run = await here.worker().execute(a_run())
        events = await here.events(run)

        assert len({event.namespace for event in events if event.kind is EventKind.CUSTOM}) == 3
        for namespace in {event.namespace for event in events if event.kind is EventKind.TEXT}:
            mine = [event for event in events if event.namespace == namespace and event.kind is EventKind.TEXT]
            assert "".join(event.data["text"] for event in mine) == "good day"


async def test_tool_call_of_a_subgraph_has_its_namespace() -> None:
    async with open_orchestrator(sequence(outer=as_node(sequence(refund=refund)))) as here:
        here.mesh.serve(RPC, lambda request: REFUNDED)
        run = await here.worker().execute(a_run())

        assert run.status is RunStatus.SUCCESS
        assert of_kind(await here.events(run), EventKind.TOOL_CALLED) == [("outer", "refund")]


async def test_effect_of_a_subgraph_that_is_cut_off_has_its_namespace() -> None:
    service = Hanging()
    async with open_orchestrator(sequence(outer=as_node(sequence(refund=refund)))) as here:
        here.mesh.serve(RPC, service)
        worker = here.worker()
        run = await worker.submission.create(a_run())
        await service.received.wait()
        worker.in_flight.cancel(run.run_id, "over")
        run = await worker.stopped(run)

        assert run.status is RunStatus.CANCELLED
        assert of_kind(await here.events(run), EventKind.TOOL_CALLED) == [("outer", "refund")]


async def test_messages_that_a_node_of_a_subgraph_returns_are_no_text() -> None:
    def returns(state: State) -> State:
        return {"answer": [AIMessage("not said by a model")]}

    async with open_orchestrator(sequence(outer=as_node(sequence(inner=returns)))) as here:
        run = await here.worker().execute(a_run())
        assert of_kind(await here.events(run), EventKind.TEXT) == []


@pytest.mark.parametrize("nest", [as_node, called_in_node], ids=["node", "called in a node"])
async def test_nodes_of_subgraphs_count_for_the_step_limit(nest: Any) -> None:
    inner = sequence(**{f"inner_{number}": logs("inner") for number in range(8)})
    async with open_orchestrator(sequence(a=nest(inner), b=nest(inner))) as here:
        run = await here.worker().execute(a_run(limits=Limits(max_steps=5)))

        assert error_of(run).reason == "STEP_LIMIT"
        assert len(of_kind(await here.events(run), EventKind.NODE_STARTED)) == 5
        assert run.accounting.usage.steps == 5


async def test_interrupt_of_a_subgraph_parks_the_run_and_is_answered() -> None:
    async with open_orchestrator(sequence(outer=as_node(sequence(inner=asks, after=logs("after"))))) as here:
        worker = here.worker()
        run = await worker.execute(a_run())
        assert run.status is RunStatus.INTERRUPTED
        [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
        await here.interrupts.answer("acme", run.run_id, {question.interrupt_id: "yes"}, "ada")
        run = await worker.stopped(await worker.claim())

        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": ["after"], "answer": "yes"})


@pytest.mark.parametrize("checkpointer", [False, True])
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
async def test_subgraph_with_its_own_checkpointer_setting_runs(*, checkpointer: bool, sync: bool) -> None:
    allow_unsaved_graphs()
    inner = sequence(inner=lambda state: get_stream_writer()({"step": 1}), after=logs("after"))
    node = called_in_node(inner, sync=sync, checkpointer=checkpointer)
    async with open_orchestrator(sequence(outer=node, as_node=inner.compile(checkpointer=checkpointer))) as here:
        run = await here.worker().execute(a_run())
        custom = [event for event in await here.events(run) if event.kind is EventKind.CUSTOM]

        assert run.status is RunStatus.SUCCESS
        assert [event.namespace[0].partition(":")[0] for event in custom] == ["outer", "as_node"]


async def test_interrupt_of_a_subgraph_without_checkpoints_is_answered() -> None:
    allow_unsaved_graphs()
    inner = sequence(inner=asks, after=logs("after")).compile(checkpointer=False)
    async with open_orchestrator(sequence(outer=inner)) as here:
        worker = here.worker()
        run = await worker.execute(a_run())
        [question] = (await here.interrupts.open([run.run_id]))[run.run_id]
        await here.interrupts.answer("acme", run.run_id, {question.interrupt_id: "yes"}, "ada")
        run = await worker.stopped(await worker.claim())

        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": ["after"], "answer": "yes"})


async def test_event_that_cannot_be_stored_ends_the_run_from_within_a_subgraph() -> None:
    async def writes(state: State) -> State:
        get_stream_writer()({"ratio": "a\0"})
        await asyncio.sleep(600)
        return {}

    async with open_orchestrator(sequence(outer=as_node(sequence(inner=writes)))) as here:
        run = await here.worker().execute(a_run())
        assert error_of(run).reason == "VALUE_NOT_STORABLE"
