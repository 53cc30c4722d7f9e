"""A graph whose first execution waits before it charges, and whose later ones charge nothing."""

import asyncio
from typing import Any

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import call, run_context
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict):
    invoice_id: str


class FirstExecution:
    """The first execution of a run."""

    def __init__(self) -> None:
        self.waits, self.may_continue, self.has_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error: BaseException | None = None


FIRST_EXECUTIONS: dict[str, FirstExecution] = {}
"""By invoice; one for which there is none here is not charged."""


async def charge(state: State) -> dict[str, Any]:
    first = FIRST_EXECUTIONS.get(state["invoice_id"])
    if first is None or first.waits.is_set():
        return {}
    await run_context().is_durable(get_config())
    try:
        first.waits.set()
        await first.may_continue.wait()
        request = ChargeRequest(invoice_id=state["invoice_id"], amount=Money(currency_code="EUR", amount_minor=5))
        await call(BillingService.Charge, request)
    except BaseException as error:
        first.error = error
        raise
    finally:
        first.has_ended.set()
    return {}


graph = StateGraph(State)
graph.add_node("charge", charge)
graph.add_edge(START, "charge")
graph.add_edge("charge", END)
