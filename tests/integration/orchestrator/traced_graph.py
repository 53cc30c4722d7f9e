"""Charges with an approval, and once more in a node that waits until the test opens its gate."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import ApprovalRule, call, remote, routed
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class Input(TypedDict):
    invoice_id: str
    gate: str


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


def _request(state: State) -> ChargeRequest:
    return ChargeRequest(invoice_id=state["invoice_id"], amount=Money(currency_code="EUR", amount_minor=5))


async def halfway(state: State) -> dict[str, Any]:
    await call(BillingService.Charge, _request(state))
    Path(f"{state['gate']}.reached").touch()
    while not Path(state["gate"]).exists():
        await asyncio.sleep(0.01)
    return {"notes": ["halfway"]}


def after_charge(state: State) -> str:
    return "halfway" if state["notes"] else END


graph = StateGraph(State, input_schema=Input)
graph.add_node(
    "charge",
    remote(
        BillingService.Charge,
        request=_request,
        update=lambda state, response: {"notes": ["charged"]},
        approval=ApprovalRule(question=lambda state, request: "Charge?", scopes=("approvals.charge",)),
    ),
)
graph.add_node("halfway", halfway)
graph.add_edge(START, "charge")
graph.add_conditional_edges("charge", routed(after_charge, "notes"), ["halfway", END])
graph.add_edge("halfway", END)
