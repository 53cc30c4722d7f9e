"""Payments as turns of a conversation: several runs on one thread, each of which appends its steps to the thread's log.

Between its effects a run pauses: for a while, until it is cancelled, for an answer, or by the end of its own process.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import pairwise
from operator import add
from typing import Annotated, Any

from graphmesh_chaos.graphs.payments import Order, Receipt, charge, describe, read, ticket
from graphmesh_chaos.graphs.payments import State as PaymentState
from graphmesh_chaos.sessions import STEPS, Pause
from graphmesh_nodes import Update
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Turn(Order):
    """The input."""

    tag: str
    """Marks the entries of the run in the log."""
    pause: str
    """A value of `Pause`."""
    seconds: float
    """The length of a pause of time."""


class Reply(Receipt):
    """The output."""

    answer: str


class Log(TypedDict):
    log: Annotated[list[str], add]
    """`TAG.STEP` for each step of each run, and what clients add."""


class State(Turn, Reply, Log, PaymentState):
    pass


def logged(step: str, node: Callable[..., Awaitable[Update]]) -> Callable[..., Awaitable[Update]]:
    """A node that appends its step to the log."""

    async def logging(state: State) -> Update:
        return {**await node(state), "log": [f"{state['tag']}.{step}"]}

    return logging


async def start(state: State) -> Update:
    """Make the amount an integer, and forget what an earlier run on the thread returned."""
    return {"amount": int(state["amount"]), "charge_id": "", "ticket_id": "", "answer": ""}


async def pause(state: State) -> Update:
    match Pause(state["pause"]):
        case Pause.TIME:
            await asyncio.sleep(state["seconds"])
        case Pause.CANCELLATION:
            await asyncio.Event().wait()
        case Pause.ANSWER:
            return {"answer": interrupt({"question": f"Open the ticket of {state['tag']}?"})}
        case Pause.DEATH:
            os.kill(os.getpid(), signal.SIGKILL)
    return {}


nodes: dict[str, Any] = dict(zip(STEPS, (start, charge, pause, ticket), strict=True))
builder = StateGraph(State, input_schema=Turn, output_schema=Reply)
builder.add_node("read", read)
builder.add_node("describe", describe)
for step, node in nodes.items():
    builder.add_node(step, logged(step, node))
order = [START, "start", "read", "charge", "pause", "describe", "ticket", END]
for before, after in pairwise(order):
    builder.add_edge(before, after)
graph = builder
