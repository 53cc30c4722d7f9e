"""The graphs under measurement. Their nodes do nothing, so what is measured is what surrounds them."""

import asyncio
import operator
import os
from collections.abc import Callable
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


def made_by(name: str) -> dict[str, Any]:
    """What the node of this name adds to the state."""
    notes = [f"{name} has been done"]
    return {"notes": notes, "document": _document()} if name == "read" else {"notes": notes}


def _document() -> str:
    return "lorem ip" * (int(os.environ.get(STATE_KB, "2")) * 128)


def _local(name: str) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return made_by(name)

    return node


async def _stay(state: State) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _ask(state: State) -> dict[str, Any]:
    return {"notes": [str(interrupt("May I?"))]}


def _then(name: str, node: Any) -> StateGraph[State, None, Given, Made]:
    """A graph that reads and then comes to `node`."""
    graph = StateGraph(State, input_schema=Given, output_schema=Made)
    graph.add_node("read", _local("read"))
    graph.add_edge(START, "read")
    graph.add_node(name, node)
    graph.add_edge("read", name)
    return graph


def shaped(node: Callable[[str], Any], context: type[Any] | None = None) -> StateGraph[State, Any, Given, Made]:
    """Seven nodes in five supersteps: in the second and the fourth, two side by side. `node` makes each by its name."""
    graph = StateGraph(State, context, input_schema=Given, output_schema=Made)
    for name in ("read", "orders", "articles", "weigh", "answer", "file", "close"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "read")
    graph.add_edge("read", "orders")
    graph.add_edge("read", "articles")
    graph.add_edge(["orders", "articles"], "weigh")
    graph.add_edge("weigh", "answer")
    graph.add_edge("weigh", "file")
    graph.add_edge(["answer", "file"], "close")
    return graph


working = shaped(_local)
staying = _then("stay", _stay)
"""Stays in its second node."""
asking = _then("ask", _ask)
"""Parks in its second node."""
