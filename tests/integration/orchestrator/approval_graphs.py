"""Graphs that charge an invoice after an approval."""

import operator
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from graphmesh.billing.v1 import BillingService, ChargeRequest, ChargeResponse
from graphmesh.common.v1 import Money
from graphmesh_nodes import ApprovalRequest, ApprovalRule, Fallback, call, degrade, remote
from graphmesh_nodes.errors import ApprovalDenied, DependencyError, GraphmeshError
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.integration.orchestrator.node_faults import CHANGED_AMOUNTS


class Input(TypedDict):
    invoice_id: str
    amount: int


class State(Input, total=False):
    notes: Annotated[list[str], operator.add]


REFUSED: Mapping[type[GraphmeshError], Fallback] = {
    ApprovalDenied: degrade(lambda _, error: {"notes": [f"{error.reason} {error.data.get('comment', '')}".strip()]})
}


def _request(state: State) -> ChargeRequest:
    amount = CHANGED_AMOUNTS.get(state["invoice_id"], state["amount"])
    return ChargeRequest(invoice_id=state["invoice_id"], amount=Money(currency_code="EUR", amount_minor=amount))


def _charged(state: State, response: ChargeResponse) -> dict[str, Any]:
    return {"notes": [f"charged {response.charge.amount.amount_minor}"]}


def _charge(**more: Any) -> Any:
    return remote(BillingService.Charge, request=_request, update=_charged, **more)


def _graph(**nodes: Any) -> StateGraph[State, None, Input]:
    """The nodes in one superstep."""
    graph = StateGraph(State, input_schema=Input)
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


approved_charge = _graph(charge=_charge())

approved_by_rule = _graph(
    charge=_charge(
        approval=ApprovalRule(
            question=lambda state, request: f"Charge {request.amount.amount_minor} of {state['invoice_id']}?",
            scopes=("approvals.charge",),
            when=lambda _, request: request.amount.amount_minor > 100,
        ),
        refusals=REFUSED,
    )
)

approved_soon = _graph(charge=_charge(approval=ApprovalRule(ttl=timedelta(seconds=2)), refusals=REFUSED))


async def _twice(state: State) -> dict[str, Any]:
    """A node with two effects, each with an approval of its own."""
    notes = []
    for ordinal in range(2):
        response = await call(
            BillingService.Charge,
            _request(state),
            ordinal=ordinal,
            approval=ApprovalRequest(f"Make charge {ordinal + 1}?"),
        )
        notes += _charged(state, response)["notes"]
    return {"notes": notes}


approved_twice = _graph(charge=_twice)


async def _until_charged(state: State) -> dict[str, Any]:
    """A node that makes its call again, under an approval of its own, until billing responds."""
    while True:
        try:
            request = ApprovalRequest("Charge it?")
            return _charged(state, await call(BillingService.Charge, _request(state), approval=request))
        except DependencyError:
            continue


approved_until_charged = _graph(charge=_until_charged)

approved_side_by_side = _graph(
    left=_charge(approval=ApprovalRule()), right=_charge(approval=ApprovalRule(), refusals=REFUSED)
)
