"""A graph that charges an invoice, with an approval for a large amount, and opens a ticket for the receipt.

Its nodes repeat calls to a service that is down until the run's deadline, as the same task and with the same ordinal,
hence with the same effect key. Therefore every run must succeed, whichever process dies.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from graphmesh.billing.v1 import BillingService, ChargeRequest, GetInvoiceRequest
from graphmesh.common.v1 import Money
from graphmesh.ticketing.v1 import CreateTicketRequest, TicketingService
from graphmesh_chaos.history import APPROVAL_THRESHOLD
from graphmesh_contracts import Rpc
from graphmesh_nodes import ApprovalRequest, Node, Update, call
from graphmesh_nodes.errors import ApprovalDenied, DependencyError
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

RETRY_SECONDS = 0.25
"""Between two calls, each with the attempts of its policy."""


class Order(TypedDict):
    """The input; the amount is in minor units of the invoice's currency."""

    invoice_id: str
    amount: int


class Receipt(TypedDict):
    """The output; `charge_id` is empty after a denial."""

    charge_id: str
    ticket_id: str


class State(Order, Receipt):
    customer_id: str
    currency: str
    subject: str
    epoch: int


def retrying(
    rpc: Rpc[RequestT, ResponseT], request: Callable[[State], RequestT], update: Callable[[ResponseT], Update]
) -> Node:
    """A node of one call, which is repeated until the service responds."""

    async def node(state: State) -> Update:
        while True:
            try:
                return update(await call(rpc, request(state)))
            except DependencyError:
                await asyncio.sleep(RETRY_SECONDS)

    return node


read = retrying(
    BillingService.GetInvoice,
    request=lambda state: GetInvoiceRequest(invoice_id=state["invoice_id"]),
    update=lambda response: {
        "customer_id": response.invoice.customer_id,
        "currency": response.invoice.outstanding.currency_code,
    },
)


def round_amount(state: State) -> Update:
    """Make the amount an integer: JSON has only floats."""
    return {"amount": int(state["amount"])}


async def charge(state: State) -> Update:
    """Charge the invoice; after a denial, return no charge.

    A call that may have been sent under an earlier approval is repeated until its outcome is known.
    """
    money = Money(currency_code=state["currency"], amount_minor=state["amount"])
    request = ChargeRequest(invoice_id=state["invoice_id"], amount=money)
    needs_approval = state["amount"] >= APPROVAL_THRESHOLD
    approval = ApprovalRequest(f"Charge {state['amount']} of {state['invoice_id']}?") if needs_approval else None
    may_be_charged = False
    while True:
        try:
            response = await call(BillingService.Charge, request, approval=approval)
            return {"charge_id": response.charge.charge_id}
        except ApprovalDenied:
            if not may_be_charged:
                return {"charge_id": ""}
        except DependencyError:
            may_be_charged = True
            await asyncio.sleep(RETRY_SECONDS)


def describe(state: State) -> Update:
    """Write the subject of the ticket."""
    return {"subject": f"Send the receipt of {state['charge_id']}" if state["charge_id"] else "Nothing was charged"}


ticket = retrying(
    TicketingService.CreateTicket,
    request=lambda state: CreateTicketRequest(subject=state["subject"], customer_id=state["customer_id"]),
    update=lambda response: {"ticket_id": response.ticket.ticket_id},
)


def payments_graph(**replaced: Any) -> StateGraph[State, None, Order, Receipt]:
    """The graph, a sequence of nodes, with some of them `replaced` by name."""
    nodes = {
        "read": read,
        "round_amount": round_amount,
        "charge": charge,
        "describe": describe,
        "ticket": ticket,
        **replaced,
    }
    builder = StateGraph(State, input_schema=Order, output_schema=Receipt)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(before, after)
    return builder


graph = payments_graph()
