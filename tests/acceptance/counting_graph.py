"""A graph that increments a number in each superstep until a file exists."""

import asyncio
from pathlib import Path
from typing import Any, Literal

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

MAX_COUNT = 900
STEP_SECONDS = 0.02


class Input(TypedDict):
    stop: str


class State(Input, total=False):
    count: int


async def count(state: State) -> dict[str, Any]:
    await asyncio.sleep(STEP_SECONDS)
    number = state.get("count", 0) + 1
    get_stream_writer()({"count": number})
    return {"count": number}


def after_count(state: State) -> Literal["count", "__end__"]:
    stopped = Path(state["stop"]).exists() or state["count"] >= MAX_COUNT
    return "__end__" if stopped else "count"


counting = StateGraph(State, input_schema=Input)
counting.add_node("count", count)
counting.add_edge(START, "count")
counting.add_conditional_edges("count", after_count)
