"""Bounded message lists: the kept messages are valid input of a model."""

from typing import Annotated, Any

import pytest
from graphmesh_nodes import bounded_messages
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

SYSTEM = SystemMessage("be kind", id="system")


def turn(name: str, tools: int = 0) -> list[BaseMessage]:
    """A human message, tool calls with their results, and an answer."""
    calls = [{"name": "search", "args": {}, "id": f"{name}{number}"} for number in range(tools)]
    called: list[BaseMessage] = [AIMessage("", tool_calls=calls, id=f"{name}-calls")] if tools else []
    answered = [ToolMessage("there", tool_call_id=str(call["id"]), id=str(call["id"])) for call in calls]
    return [HumanMessage(name, id=name), *called, *answered, AIMessage("done", id=f"{name}-done")]


def reduced(limit: int, *updates: list[BaseMessage]) -> list[Any]:
    messages: Any = []
    for update in updates:
        messages = bounded_messages(limit)(messages, update)  # type: ignore[arg-type]
    return list(messages)


def test_short_lists_are_unchanged() -> None:
    assert reduced(5, [SYSTEM], turn("a"), turn("b")) == [SYSTEM, *turn("a"), *turn("b")]


def test_keeps_the_newest_messages_and_the_system_message() -> None:
    """They begin with a human message, so one message fewer than the limit is kept."""
    assert reduced(6, [SYSTEM], turn("a"), turn("b"), turn("c", tools=1)) == [SYSTEM, *turn("c", tools=1)]


def test_merges_messages_by_id() -> None:
    corrected = HumanMessage("b?", id="b")
    assert reduced(4, turn("a"), turn("b"), [corrected, RemoveMessage("a")]) == [
        turn("a")[1],
        corrected,
        turn("b")[1],
    ]


def test_last_turn_is_kept_whole() -> None:
    assert reduced(3, [SYSTEM], turn("a"), turn("b", tools=4)) == [SYSTEM, *turn("b", tools=4)]
    assert len(reduced(2, [AIMessage("1"), AIMessage("2"), AIMessage("3")])) == 3


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_limit_below_two_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="no room"):
        bounded_messages(limit)


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(2, 12), st.booleans())
def test_kept_messages_are_valid(turns: list[int], limit: int, system: bool) -> None:
    """For all conversations: the system message first, then a human message; no tool result without its call, and no
    call without its results; at most `limit` messages, or one turn."""
    updates = [turn(f"t{number}", tools) for number, tools in enumerate(turns)]
    left = reduced(limit, [SYSTEM] if system else [], *updates)
    rest = left[1:] if system else left
    assert not system or left[0] == SYSTEM
    assert not turns or rest[0].type == "human"
    assert not turns or left[-1] == updates[-1][-1]
    called = [call["id"] for message in left for call in getattr(message, "tool_calls", [])]
    assert called == [message.tool_call_id for message in left if isinstance(message, ToolMessage)]
    assert len(left) <= limit or rest == updates[-1]


def test_reduces_the_state_of_a_graph() -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], bounded_messages(4)]

    builder = StateGraph(State)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("yes")]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    messages: Any = [("human", "1"), ("ai", "2"), ("human", "3"), ("ai", "4"), ("human", "5")]
    ended = builder.compile().invoke({"messages": messages})
    assert [message.content for message in ended["messages"]] == ["3", "4", "5", "yes"]
