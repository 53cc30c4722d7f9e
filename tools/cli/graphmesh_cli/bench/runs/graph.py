"""The graphs under measurement. Their nodes do nothing, so what is measured is what surrounds them."""

import asyncio
import operator
import os
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

STATE_KB = "GRAPHMESH_BENCH_STATE_KB"
"""The environment variable that says how large the state becomes."""
INPUT = {"question": "Where is my parcel?"}


class Given(TypedDict):
    question: str


class Made(TypedDict):
    notes: Annotated[list[str], operator.add]


class State(Given, Made):
    document: str


def _note(name: str) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return {"notes": [f"{name} has been done"]}

    return node


async def _read(state: State) -> dict[str, Any]:
    return {"document": "lorem ip" * (int(os.environ.get(STATE_KB, "2")) * 128), "notes": ["read has been done"]}


async def _stay(state: State) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _ask(state: State) -> dict[str, Any]:
    return {"notes": [str(interrupt("May I?"))]}


def _then(name: str, node: Any) -> StateGraph[State, None, Given, Made]:
    """A graph that reads and then comes to `node`."""
    graph = StateGraph(State, input_schema=Given, output_schema=Made)
    graph.add_node("read", _read)
    graph.add_edge(START, "read")
    graph.add_node(name, node)
    graph.add_edge("read", name)
    return graph


def _working() -> StateGraph[State, None, Given, Made]:
    """Seven nodes in five supersteps: in the second and the fourth, two side by side."""
    graph = _then("orders", _note("orders"))
    for name in ("articles", "weigh", "answer", "file", "close"):
        graph.add_node(name, _note(name))
    graph.add_edge("read", "articles")
    graph.add_edge(["orders", "articles"], "weigh")
    graph.add_edge("weigh", "answer")
    graph.add_edge("weigh", "file")
    graph.add_edge(["answer", "file"], "close")
    return graph


working = _working()
staying = _then("stay", _stay)
"""Stays in its second node."""
asking = _then("ask", _ask)
"""Parks in its second node."""
