"""Graphs whose runs leave one of everything that a tenant can have: an artifact, an interrupt, an approval."""

from typing import Any

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import ApprovalRule, remote, run_context
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    note: str
    report: str


async def _report(state: State) -> dict[str, Any]:
    return {"report": await run_context().artifacts.put(state["note"].encode() * 10, "text/plain")}


def _ask(state: State) -> dict[str, Any]:
    return {"note": str(interrupt({"question": state["note"]}))}


def _request(state: State) -> ChargeRequest:
    return ChargeRequest(invoice_id=state["note"], amount=Money(currency_code="EUR", amount_minor=100))


asking = StateGraph(State)
asking.add_node("report", _report)
asking.add_node("ask", _ask)
asking.add_edge(START, "report")
asking.add_edge("report", "ask")
asking.add_edge("ask", END)

_approved = ApprovalRule(question=lambda state, request: state["note"])
_charge = remote(BillingService.Charge, request=_request, update=lambda state, response: {}, approval=_approved)
charging = StateGraph(State)
charging.add_node("charge", _charge)
charging.add_edge(START, "charge")
charging.add_edge("charge", END)
