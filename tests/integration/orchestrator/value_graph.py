"""A graph that writes an odd value to an event, to its state, to an interrupt, or to the text of a model."""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

LONG_NAME = "n" * 256


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"in": value}
    return value


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


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
    "class": lambda: ctypes.c_int,
    "function": lambda: nested,
}


class State(TypedDict, total=False):
    place: str
    kind: str
    value: Any


def write(state: State) -> State:
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


graph = StateGraph(State)
graph.add_node("write", write)
graph.add_node(LONG_NAME, write)
graph.add_conditional_edges(
    START, lambda state: LONG_NAME if state["place"] == "node" else "write", [LONG_NAME, "write"]
)
