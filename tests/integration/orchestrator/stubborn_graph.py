"""A graph whose nodes ignore that they are cancelled."""

import asyncio
import threading
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

NEVER = threading.Event()


class State(TypedDict):
    way: Literal["task", "thread", "none"]


async def task(state: State) -> dict[str, Any]:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def thread(state: State) -> dict[str, Any]:
    NEVER.wait()
    return {}


def none(state: State) -> dict[str, Any]:
    return {}


stubborn = StateGraph(State)
for node in (task, thread, none):
    stubborn.add_node(node.__name__, node)
stubborn.add_conditional_edges(START, lambda state: state["way"], ["task", "thread", "none"])
