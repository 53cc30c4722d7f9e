"""Graphs whose nodes do nothing, in process: only overhead is measured."""

import asyncio
import operator
import os
from collections.abc import Callable
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

LOCAL, REMOTE, BLOCKING, INTERRUPTING = "local", "remote", "blocking", "interrupting"
"""The names of the graphs in the registry; REMOTE is that of `remote_graph`."""
BLOCKING_NODE = "block"
STATE_KB = "GRAPHMESH_BENCH_STATE_KB"
"""The environment variable with the size of the state."""
INPUT = {"question": "Where is my parcel?"}


class Input(TypedDict):
    question: str


class Output(TypedDict):
    notes: Annotated[list[str], operator.add]


class State(Input, Output):
    document: str


def update_of(name: str) -> dict[str, Any]:
    """The update of the node with this name."""
    notes = [f"{name} has been done"]
    return {"notes": notes, "document": _document()} if name == "read" else {"notes": notes}


def _document() -> str:
    return "lorem ip" * (int(os.environ.get(STATE_KB, "2")) * 128)


def _local_node(name: str) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return update_of(name)

    return node


async def _block(state: State) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _interrupt(state: State) -> dict[str, Any]:
    return {"notes": [str(interrupt("May I?"))]}


def _two_nodes(name: str, node: Any) -> StateGraph[State, None, Input, Output]:
    """A graph of two nodes: `read`, then `node`."""
    graph = StateGraph(State, input_schema=Input, output_schema=Output)
    graph.add_node("read", _local_node("read"))
    graph.add_edge(START, "read")
    graph.add_node(name, node)
    graph.add_edge("read", name)
    return graph


def seven_nodes(make_node: Callable[[str], Any]) -> StateGraph[State, None, Input, Output]:
    """Seven nodes in five supersteps; the second and the fourth have two each. `make_node` gets their names."""
    graph = StateGraph(State, input_schema=Input, output_schema=Output)
    for name in ("read", "orders", "articles", "weigh", "answer", "file", "close"):
        graph.add_node(name, make_node(name))
    graph.add_edge(START, "read")
    graph.add_edge("read", "orders")
    graph.add_edge("read", "articles")
    graph.add_edge(["orders", "articles"], "weigh")
    graph.add_edge("weigh", "answer")
    graph.add_edge("weigh", "file")
    graph.add_edge(["answer", "file"], "close")
    return graph


local_graph = seven_nodes(_local_node)
blocking_graph = _two_nodes(BLOCKING_NODE, _block)
"""Its second node runs until it is cancelled."""
interrupting_graph = _two_nodes("interrupt", _interrupt)
"""Its second node parks the run."""
