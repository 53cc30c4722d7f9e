"""Graphs whose nodes end the process that executes them, and one that counts beside them."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

STEP_SECONDS = 0.1
STEPS = 20
ATTACK_STEPS = 15
"""How often an attack waits, so that the run's first checkpoint is stored: the next execution's would be progress."""

WAYS: dict[str, Callable[[], Any]] = {
    "ends": lambda: os._exit(3),
    "kills": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: ctypes.string_at(0),
    "exits": lambda: sys.exit(3),
}


class Poison(TypedDict):
    way: str


class Count(TypedDict, total=False):
    count: int


async def attack(state: Poison) -> dict[str, Any]:
    for _ in range(ATTACK_STEPS):
        await asyncio.sleep(STEP_SECONDS)
    WAYS[state["way"]]()
    return {}


async def count(state: Count) -> dict[str, Any]:
    await asyncio.sleep(STEP_SECONDS)
    return {"count": state.get("count", 0) + 1}


def after_count(state: Count) -> Literal["count", "__end__"]:
    return "__end__" if state["count"] >= STEPS else "count"


poisoned = StateGraph(Poison)
poisoned.add_node("attack", attack)
poisoned.add_edge(START, "attack")

counting = StateGraph(Count)
counting.add_node("count", count)
counting.add_edge(START, "count")
counting.add_conditional_edges("count", after_count)
