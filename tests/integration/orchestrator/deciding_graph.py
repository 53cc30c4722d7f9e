"""Decides by conditional edges, checks itself, and hands over."""

import operator
from typing import Annotated

from graphmesh_nodes import record_escalation, record_validation, routed
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict


class Input(TypedDict):
    text: str
    amount: float


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


def check(state: State) -> dict[str, list[str]]:
    """In a thread, as every synchronous node."""
    record_validation("amount", ["too_high"] if state["amount"] > 100 else [])
    return {"notes": ["checked"]}


def after_check(state: State) -> str:
    return "hand_over" if state["amount"] > 100 else "small"


async def each(state: State) -> list[Send]:
    return [Send("part", state), Send("part", state)]


def hand_over(state: State) -> dict[str, list[str]]:
    record_escalation("too_high", "accounting")
    return {"notes": ["handed over"]}


def broken(state: State) -> str:
    raise ValueError(state["text"])


inner = StateGraph(State, input_schema=Input)
inner.add_node("begin", lambda state: {})
inner.add_node("part", lambda state: {"notes": ["part"]})
inner.add_edge(START, "begin")
inner.add_conditional_edges("begin", each, ["part"])

builder = StateGraph(State, input_schema=Input)
builder.add_node("check", check)
builder.add_node("hand_over", hand_over)
builder.add_node("small", inner.compile())
builder.add_conditional_edges(START, lambda state: "check", ["check"])
builder.add_conditional_edges(
    "check",
    routed(after_check, "amount", "text", "notes", "absent", high=lambda state: state["amount"] > 100, bad=broken),
    ["hand_over", "small"],
)
builder.add_conditional_edges("small", routed(lambda state: END, "amount"))
builder.add_edge("hand_over", END)
graph = builder.compile()
