"""B9: the messages of a thread are bounded, and what is left can be sent to a model."""

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
    """A question, calls of tools with their answers, and an answer."""
    calls = [{"name": "look", "args": {}, "id": f"{name}{number}"} for number in range(tools)]
    asked: list[BaseMessage] = [AIMessage("", tool_calls=calls, id=f"{name}-calls")] if tools else []
    answered = [ToolMessage("there", tool_call_id=str(call["id"]), id=str(call["id"])) for call in calls]
    return [HumanMessage(name, id=name), *asked, *answered, AIMessage("done", id=f"{name}-done")]


def reduced(limit: int, *updates: list[BaseMessage]) -> list[Any]:
    messages: Any = []
    for update in updates:
        messages = bounded_messages(limit)(messages, update)  # type: ignore[arg-type]
    return list(messages)


def test_short_lists_are_as_they_were() -> None:
    assert reduced(5, [SYSTEM], turn("a"), turn("b")) == [SYSTEM, *turn("a"), *turn("b")]


def test_the_newest_stay_with_the_system_message() -> None:
    """They begin with a human message, so there is one message fewer than there might be."""
    assert reduced(6, [SYSTEM], turn("a"), turn("b"), turn("c", tools=1)) == [SYSTEM, *turn("c", tools=1)]


def test_messages_are_merged_by_their_ids() -> None:
    corrected = HumanMessage("b?", id="b")
    assert reduced(4, turn("a"), turn("b"), [corrected, RemoveMessage("a")]) == [
        turn("a")[1],
        corrected,
        turn("b")[1],
    ]


def test_a_turn_that_is_too_long_is_kept_whole() -> None:
    assert reduced(3, [SYSTEM], turn("a"), turn("b", tools=4)) == [SYSTEM, *turn("b", tools=4)]
    assert len(reduced(2, [AIMessage("1"), AIMessage("2"), AIMessage("3")])) == 3


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_bound_without_room_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="no room"):
        bounded_messages(limit)


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(2, 12), st.booleans())
def test_what_is_left_can_be_sent(turns: list[int], limit: int, system: bool) -> None:
    """Whatever was said: the system message first, then a human's; no answer of a tool without its call, and no call
    without its answers; bounded, or one turn."""
    updates = [turn(f"t{number}", tools) for number, tools in enumerate(turns)]
    left = reduced(limit, [SYSTEM] if system else [], *updates)
    rest = left[1:] if system else left
    assert not system or left[0] == SYSTEM
    assert not turns or rest[0].type == "human"
    assert not turns or left[-1] == updates[-1][-1]
    called = [call["id"] for message in left for call in getattr(message, "tool_calls", [])]
    assert called == [message.tool_call_id for message in left if isinstance(message, ToolMessage)]
    assert len(left) <= limit or rest == updates[-1]


def test_it_is_the_reducer_of_a_graph() -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], bounded_messages(4)]

    builder = StateGraph(State)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("yes")]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    said: Any = [("human", "1"), ("ai", "2"), ("human", "3"), ("ai", "4"), ("human", "5")]
    ended = builder.compile().invoke({"messages": said})
    assert [message.content for message in ended["messages"]] == ["3", "4", "5", "yes"]
