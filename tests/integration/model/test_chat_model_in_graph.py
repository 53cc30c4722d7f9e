"""The chat model inside a node of a graph: caller, deadline and channel are those of the run."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypedDict

import pytest
import pytest_asyncio
from graphmesh.model.v1 import ModelService
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded
from graphmesh_model.settings import Settings
from graphmesh_nodes import Budget, GraphmeshChatModel, Limits, RunContext, ToolCalled
from graphmesh_nodes.context import with_run_context
from graphmesh_nodes.errors import TokenLimit
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from tests.integration.model.served import running_models

QUESTION = HumanMessage("<document>Returns are free for 30 days.</document> Are returns free?")
THREAD: Any = {"configurable": {"thread_id": "th_1"}}
model = GraphmeshChatModel()


class State(TypedDict):
    answer: BaseMessage


async def draft(state: State) -> State:
    return {"answer": await model.ainvoke([QUESTION])}


def graph() -> Any:
    builder = StateGraph(State)
    builder.add_node("draft", draft)
    builder.add_edge(START, "draft")
    return builder.compile(checkpointer=InMemorySaver())


@pytest_asyncio.fixture
async def context() -> AsyncIterator[RunContext]:
    async with running_models(Settings()) as served:
        yield RunContext(served.channel, "shop", "ana", "run_1", Deadline.after(60))


async def test_node_calls_the_model(context: RunContext) -> None:
    state = await graph().ainvoke({}, with_run_context(THREAD, context), durability="sync")
    assert state["answer"].text == "Returns are free for 30 days."
    assert state["answer"].usage_metadata["total_tokens"] == 25


async def test_node_streams_tokens_and_reports_the_tool_call(context: RunContext) -> None:
    """LangGraph's `messages` mode streams the tokens of a node that only awaits the answer."""
    modes = ["messages", "custom"]
    events = [event async for event in graph().astream({}, with_run_context(THREAD, context), stream_mode=modes)]
    chunks = [data[0] for mode, data in events if mode == "messages"]
    calls = [data for mode, data in events if mode == "custom"]
    texts = [chunk.text for chunk in chunks if isinstance(chunk, AIMessageChunk) and chunk.text]
    assert len(texts) > 1
    assert "".join(texts) == "Returns are free for 30 days."
    [call] = calls
    assert isinstance(call, ToolCalled)
    assert (call.node, call.tool, call.error) == ("draft", ModelService.StreamGenerate.tool, None)


@pytest.mark.parametrize("stream_mode", ["values", "messages"])
async def test_token_usage_is_metered_and_limited(context: RunContext, stream_mode: Any) -> None:
    """Once the run has reached its token limit, the next model call fails."""
    bounded = replace(context, budget=Budget(Limits(max_tokens=20)))
    [part async for part in graph().astream({}, with_run_context(THREAD, bounded), stream_mode=stream_mode)]
    used = bounded.budget.usage
    assert used.input_tokens + used.output_tokens == 25
    with pytest.raises(TokenLimit):
        [part async for part in graph().astream({}, with_run_context(THREAD, bounded), stream_mode=stream_mode)]


async def test_model_call_respects_the_run_deadline(context: RunContext) -> None:
    late = RunContext(context.channel, "shop", "ana", "run_1", Deadline.after(0))
    for stream_mode in ("values", "messages"):
        with pytest.raises(DeadlineExceeded):
            [part async for part in graph().astream({}, with_run_context(THREAD, late), stream_mode=stream_mode)]
