"""A graph that allocates memory until there is none, by code that reports it or dies of it; and a quiet one."""

import os
import signal
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

CHUNK = 256 * 1024 * 1024
MOST = 64
"""Chunks: the machine is not to run out of memory where there is no limit."""


class Bomb(TypedDict):
    way: Literal["raises", "dies"]


def allocate(state: Bomb) -> dict[str, Any]:
    held = []
    try:
        for _ in range(MOST):
            held.append(bytearray(CHUNK))
    except MemoryError:
        if state["way"] == "dies":
            os.kill(os.getpid(), signal.SIGKILL)  # native code aborts, which writes a core first
        raise
    return {}


class Sum(TypedDict, total=False):
    total: int


bomb = StateGraph(Bomb)
bomb.add_node("allocate", allocate)
bomb.add_edge(START, "allocate")

quiet = StateGraph(Sum)
quiet.add_node("add", lambda state: {"total": state.get("total", 0) + 1})
quiet.add_edge(START, "add")
