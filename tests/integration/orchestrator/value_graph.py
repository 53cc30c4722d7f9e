"""A graph that writes an odd value to an event, its state, an interrupt, the text of a model, a name, or an error."""

import ctypes
import itertools
import random
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from graphmesh_contracts import APPROVAL_KEY
from graphmesh_nodes.errors import NotFound
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

NODES = {
    "long": "n" * 256,
    "surrogate": "n\ud800",
    "nul": "n\0",
    "deep": "".join(random.Random(1).choices("abcdefghij", k=9000)),
}
"""The names of nodes. PostgreSQL has no room for the last one in a key, as which a subgraph's checkpoints have it."""


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"in": value}
    return value


def doubling(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value, value]
    return value


def in_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


class Exiting:
    """A value whose text ends the process."""

    def __str__(self) -> str:
        raise SystemExit(3)


VALUES: dict[str, Callable[[], Any]] = {
    "time": lambda: datetime(2026, 3, 1, tzinfo=UTC),
    "decimal": lambda: Decimal("1.5"),
    "decimal nan": lambda: Decimal("NaN"),
    "uuid": lambda: UUID(int=1),
    "bytes": lambda: b"\xff\x00",
    "set": lambda: {1},
    "nan": lambda: float("nan"),
    "infinite": lambda: float("inf"),
    "large integer": lambda: 10**400,
    "surrogate": lambda: "\ud800",
    "key of a surrogate": lambda: {"\ud800": 1},
    "nul": lambda: "a\0b",
    "nested": lambda: nested(60),
    "very nested": lambda: nested(3000),
    "object": object,
    "unprintable": Unprintable,
    "exiting": Exiting,
    "key that exits": lambda: {Exiting(): 1},
    "equal names": lambda: {1: 1, "1": 2},
    "key without a text": lambda: {Unprintable(): 1},
    "keys of numbers": lambda: {1: 1, 2.5: 1, None: 1, (1, 2): 1},
    "in itself": in_itself,
    "doubling": lambda: doubling(20),
    "iterator": itertools.count,
    "many": lambda: [None] * 2_000_000,
    "many objects": lambda: [{"a": number} for number in range(200_000)],
    "long": lambda: "x" * 50_000_000,
    "long bytes": lambda: b"x" * 50_000_000,
    "class": lambda: ctypes.c_int,
    "function": lambda: nested,
}


class State(TypedDict, total=False):
    place: str
    kind: str
    value: Any
    ttl: float


def fail(name: str) -> None:
    """Raise an error with a name of the graph in its type, its text, and its data."""
    match name:
        case "type":
            raise type("E\ud800" * 1000, (Exception,), {})
        case "text":
            raise ValueError("\ud800\0" * 1_000_000)
        case "data":
            data: dict[str, Any] = {f"k{number}\ud800": "v" for number in range(1000)}
            raise NotFound(resource="\ud800" * 1_000_000, **data)
        case "broken":
            error = NotFound()
            error.retry_after = float("nan")
            error.data = {"a": 1}  # type: ignore[dict-item]
            raise error


ERRORS = ["type", "text", "data", "broken"]


def write(state: State) -> State:
    if state["place"] == "error":
        fail(state["kind"])
    if state["place"] in ("name", "output"):
        return {}
    if state["place"] == "approval":
        terms = {"tool": "t", "arguments": {}, "digest": "d", "question": "q", "scopes": [], "ttl": state["ttl"]}
        interrupt({APPROVAL_KEY: terms})
    value = VALUES[state["kind"]]()
    match state["place"]:
        case "event":
            get_stream_writer()({"value": value})
        case "bare event":
            get_stream_writer()(value)
        case "state":
            return {"value": value}
        case "interrupt":
            interrupt(value)
        case "message":
            return {"value": AIMessage(str(value))}
    return {}


def leaf(state: State) -> State:
    return {}


def graph_of(name: str, node: Any) -> StateGraph[Any, Any, Any, Any]:
    """Build a graph of one node."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node(name, node)
    builder.add_edge(START, name)
    return builder


LEAF = graph_of("leaf", leaf)

graph = StateGraph(State)
graph.add_node("write", write)
for kind, name in NODES.items():
    graph.add_node(name, LEAF.compile() if kind == "deep" else write)
graph.add_node("inner", graph_of(NODES["deep"], LEAF.compile(checkpointer=True)).compile(checkpointer=True))
targets: dict[Hashable, str] = {"write": "write", "inner": "inner", **dict[Hashable, str](NODES.items())}
graph.add_conditional_edges(START, lambda state: state["kind"] if state["place"] == "name" else "write", targets)
