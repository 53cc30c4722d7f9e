"""A graph that charges an invoice of the customer that its input names."""

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import declare, remote
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Input(TypedDict, total=False):
    customer_id: str
    invoice_id: str


charge_own = StateGraph(Input)
charge_own.add_node(
    "charge",
    remote(
        BillingService.Charge,
        request=lambda state: ChargeRequest(
            invoice_id=state["invoice_id"], amount=Money(currency_code="EUR", amount_minor=5)
        ),
        update=lambda state, response: {},
    ),
)
charge_own.add_edge(START, "charge")
declare(charge_own, tools=[BillingService.Charge], customer="customer_id")
