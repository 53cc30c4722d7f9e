"""The modes that a run is created with decide what its events have; a mode that was not chosen costs nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from graphmesh_nodes.routes import record_routes
from graphmesh_nodes.unsaved_graphs import allow_unsaved_graphs
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import StreamMode
from graphmesh_orchestrator.worker import event_bounds
from graphmesh_orchestrator.worker.graph_stream import ASYNC_FACTOR
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from tests.contract.stored_events import events_of_rows
from tests.unit.orchestrator.memory_orchestrator import open_orchestrator
from tests.unit.orchestrator.test_executor import State, a_run, asks, logs, sequence
from tests.unit.orchestrator.test_subgraphs import as_node


class Answer(TypedDict):
    answer: Any


class Searching(GenericFakeChatModel):
    """A model that says good day, and calls a tool."""

    def _stream(self, *args: Any, **options: Any) -> Iterator[ChatGenerationChunk]:
        call = tool_call_chunk(name="search", args='{"q": "ink"}', id="call_1", index=0)
        for chunk in (
            AIMessageChunk(content="good "),
            AIMessageChunk(content="day"),
            AIMessageChunk(content="", tool_call_chunks=[call]),
        ):
            yield ChatGenerationChunk(message=chunk)


ALWAYS = {EventKind.STATUS, EventKind.NODE_STARTED, EventKind.NODE_FINISHED}


async def speaks(state: Any) -> Any:
    get_stream_writer()({"step": "speaks"})
    return {
        "messages": [
            await Searching(messages=iter([AIMessage("good day")])).ainvoke("hi"),
            AIMessage("by hand", id="hand"),
        ]
    }


def speaking() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("speaks", speaks)
    graph.add_edge(START, "speaks")
    return graph


UNUSED = {EventKind.TOOL_CALLED, EventKind.ROUTE_TAKEN, EventKind.VALIDATED, EventKind.ESCALATED}
"""Kinds of which these graphs have none."""


async def events_of(graph: StateGraph[Any, Any, Any, Any], modes: Sequence[str] | None, **given: Any) -> Any:
    async with open_orchestrator(graph) as here:
        run = await here.worker().execute(a_run(stream_modes=modes, **given))
        return run, await here.events(run)


@pytest.mark.parametrize(
    ("modes", "kinds"),
    [
        (None, {EventKind.CUSTOM, EventKind.TEXT}),
        (["updates"], set()),
        (["custom"], {EventKind.CUSTOM}),
        (["text"], {EventKind.TEXT}),
        (["messages"], {EventKind.MESSAGE}),
        (["values"], {EventKind.VALUES}),
        (["tasks"], {EventKind.TASK}),
        (["checkpoints"], {EventKind.CHECKPOINT}),
        (["debug"], {EventKind.DEBUG}),
        ([*StreamMode], {kind for mode in StreamMode for kind in mode.kinds} - UNUSED),
    ],
)
async def test_a_run_has_the_events_of_its_modes(modes: list[str] | None, kinds: set[EventKind]) -> None:
    run, events = await events_of(speaking(), modes, input={"messages": []})
    assert run.status is RunStatus.SUCCESS
    assert {event.kind for event in events} == ALWAYS | kinds
    [finished] = [event for event in events if event.kind is EventKind.NODE_FINISHED]
    assert ("update" in finished.data) == (modes is None or "updates" in modes)
    assert all(event.not_shown == "" for event in events)


async def test_messages_have_metadata_tool_calls_and_those_of_nodes() -> None:
    _, events = await events_of(speaking(), ["messages"], input={"messages": []})
    messages = [event for event in events if event.kind is EventKind.MESSAGE]
    shown = [event.data["value"]["message"] for event in messages]
    assert "".join(one["content"] for one in shown if one["type"] == "AIMessageChunk") == "good day"
    assert [one["tool_calls"][0]["args"] for one in shown if one.get("tool_calls")] == [{"q": "ink"}]
    assert [one["id"] for one in shown if one["type"] == "ai"] == ["hand"]
    metadata = messages[0].data["value"]["metadata"]
    assert (metadata["langgraph_node"], metadata["ls_model_type"]) == ("speaks", "chat")
    assert {event.node for event in messages} == {"speaks"}
    assert not [key for key in metadata if key.startswith("__")]


async def langgraph_stream(graph: StateGraph[Any, Any, Any, Any], mode: Any, given: Any) -> list[Any]:
    config: Any = {"configurable": {"thread_id": "th"}}
    compiled = graph.compile(checkpointer=InMemorySaver())
    return [part async for part in compiled.astream(given, config, stream_mode=mode, subgraphs=True)]


@pytest.mark.parametrize("mode", ["values", "tasks", "checkpoints", "debug"])
async def test_parts_are_those_of_langgraph(mode: str) -> None:
    """In number, order, namespace, keys and values."""
    graph = sequence(a=logs("a"), sub=as_node(sequence(b=logs("b"))), asks=asks)
    expected = await langgraph_stream(graph, mode, {"log": []})
    _, events = await events_of(graph, [mode], thread_id="th")
    [kind] = StreamMode(mode).kinds
    found = [event for event in events if event.kind is kind]
    assert [_levels(event.namespace) for event in found] == [_levels(namespace) for namespace, _ in expected]
    for event, (_, part) in zip(found, expected, strict=True):
        shown = event.data["value"]
        assert shown.keys() == part.keys() - {"metadata" if mode == "tasks" else ""}
        for key in ("log", "answer", "values", "next", "name", "type", "step", "input", "result"):
            assert _plain(shown.get(key)) == _plain(part.get(key))


def _levels(namespace: Sequence[str]) -> list[str]:
    return [level.partition(":")[0] for level in namespace]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


async def test_configs_of_checkpoints_have_the_ids_alone() -> None:
    _, events = await events_of(sequence(a=logs("a")), ["checkpoints"], thread_id="th")
    config = next(event for event in events if event.kind is EventKind.CHECKPOINT).data["value"]["config"]
    assert config["configurable"].keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}


async def test_error_of_a_task_has_the_type_alone() -> None:
    def fails(state: State) -> State:
        raise ValueError("a secret of the customer")

    run, events = await events_of(sequence(a=fails), ["tasks", "debug", "checkpoints"])
    assert run.status is RunStatus.ERROR
    assert "secret" not in str([event.data for event in events])
    [task] = [event for event in events if event.kind is EventKind.TASK and "error" in (event.data["value"] or {})]
    assert task.data["value"]["error"] == "ValueError"


async def test_value_that_cannot_be_shown_is_named_and_ends_no_run() -> None:
    def writes(state: State) -> State:
        return {"answer": {"ratio": "a\0"}}

    def repairs(state: State) -> State:
        return {"answer": "repaired"}

    run, events = await events_of(sequence(a=writes, b=repairs), ["values"])
    assert run.status is RunStatus.SUCCESS
    shown = [event for event in events if event.kind is EventKind.VALUES]
    assert [bool(event.not_shown) for event in shown] == [False, True, False]
    assert shown[1].not_shown.startswith("values.answer.ratio: ")


async def test_values_without_room_are_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bounds, "MAX_BYTES", 4_000)

    def writes(state: State) -> State:
        return {"answer": "x" * 1_000}

    run, events = await events_of(sequence(**{f"n{number}": writes for number in range(6)}), ["values"])
    assert run.status is RunStatus.SUCCESS
    shown = [event for event in events if event.kind is EventKind.VALUES]
    assert len(shown) == 7
    assert shown[-1].not_shown == "values: the events of the run have too many bytes together"


async def test_values_have_the_state_and_the_output_its_own_channels() -> None:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State, output_schema=Answer)
    graph.add_node("a", lambda state: {"log": ["a"], "answer": 7})
    graph.add_edge(START, "a")
    run, events = await events_of(graph, ["values"])
    assert run.state.output == {"answer": 7}
    values = [event.data["value"] for event in events if event.kind is EventKind.VALUES]
    assert values[-1] == {"log": ["a"], "answer": 7}


async def test_values_of_a_subgraph_are_left_out_while_too_many_events_wait() -> None:
    """It stores no checkpoints for which it would wait, so that nothing else bounds what it is ahead."""
    allow_unsaved_graphs()
    record_routes()
    steps, size, ended = 40, 1_000_000, asyncio.Event()

    async def grows(state: State) -> Any:
        return {"log": ["x"], "answer": str(len(state["log"])) * size}

    inner: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    inner.add_node("grows", grows)
    inner.add_edge(START, "grows")
    inner.add_conditional_edges("grows", lambda state: "grows" if len(state["log"]) < steps else END)

    async def outer(state: State) -> Any:
        await inner.compile(checkpointer=False).ainvoke({"log": []}, {"recursion_limit": 2 * steps})
        ended.set()
        return {}

    async with open_orchestrator(sequence(outer=outer)) as here:
        worker = here.worker()
        with here.writer.held():
            run = await worker.submission.create(a_run(stream_modes=["values"]))
            async with asyncio.timeout(60):
                await ended.wait()
        run = await worker.stopped(run)
        rows = list(here.tables.events[run.run_id].values())
        shown = [event for event in events_of_rows(rows) if event.kind is EventKind.VALUES]

    reasons = [event.not_shown for event in shown if event.not_shown]
    assert run.status is RunStatus.SUCCESS
    assert {*reasons} == {"values: too many events wait to be stored"}
    routes = [event for event in events_of_rows(rows) if event.kind is EventKind.ROUTE_TAKEN]
    assert len(routes) == steps
    assert sum(len(row["data"]) for row in rows) < (2 * ASYNC_FACTOR) * size
