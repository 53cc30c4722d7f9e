"""Takes the money for an invoice, where it is much with a person's consent, and opens a ticket for the receipt.

Its calls are patient: where a service is not there, the node asks again until the run's deadline, as the same task and
with the same ordinal, hence with the same effect key. So whatever dies, every run has to succeed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from graphmesh.billing.v1 import BillingService, ChargeRequest, GetInvoiceRequest
from graphmesh.common.v1 import Money
from graphmesh.ticketing.v1 import CreateTicketRequest, TicketingService
from graphmesh_chaos.facts import ASKED_FROM
from graphmesh_chassis.errors import DependencyError
from graphmesh_contracts import Rpc
from graphmesh_nodes.approval import Ask
from graphmesh_nodes.context import RunContext
from graphmesh_nodes.errors import ApprovalDenied
from graphmesh_nodes.remote import Node, Update, call
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

PAUSE_SECONDS = 0.25
"""Between two calls, each with the attempts of its policy."""


class Order(TypedDict):
    """What is to be paid, in minor units of the invoice's currency."""

    invoice_id: str
    amount: int


class Receipt(TypedDict):
    """What was made of it."""

    charge_id: str
    ticket_id: str


class State(Order, Receipt):
    customer_id: str
    currency: str
    subject: str


def patient(
    rpc: Rpc[RequestT, ResponseT], request: Callable[[State], RequestT], update: Callable[[ResponseT], Update]
) -> Node:
    """A node that is one call of a service, however long the service is away."""

    async def node(state: State, config: RunnableConfig, runtime: Runtime[RunContext]) -> Update:
        while True:
            try:
                return update(await call(rpc, request(state), config, runtime))
            except DependencyError:
                await asyncio.sleep(PAUSE_SECONDS)

    return node


read = patient(
    BillingService.GetInvoice,
    request=lambda state: GetInvoiceRequest(invoice_id=state["invoice_id"]),
    update=lambda response: {
        "customer_id": response.invoice.customer_id,
        "currency": response.invoice.outstanding.currency_code,
    },
)


def agree(state: State) -> Update:
    """What will be taken: whole minor units."""
    return {"amount": int(state["amount"])}


async def charge(state: State, config: RunnableConfig, runtime: Runtime[RunContext]) -> Update:
    """Take the money, from some amount on with a person's consent. Without it nothing is taken; but a call that may
    have been sent under an earlier consent is asked for until it is answered."""
    money = Money(currency_code=state["currency"], amount_minor=state["amount"])
    request = ChargeRequest(invoice_id=state["invoice_id"], amount=money)
    ask = Ask(f"Charge {state['amount']} of {state['invoice_id']}?") if state["amount"] >= ASKED_FROM else None
    tried = False
    while True:
        try:
            response = await call(BillingService.Charge, request, config, runtime, ask=ask)
            return {"charge_id": response.charge.charge_id}
        except ApprovalDenied:
            if not tried:
                return {"charge_id": ""}
        except DependencyError:
            tried = True
            await asyncio.sleep(PAUSE_SECONDS)


def describe(state: State) -> Update:
    """What the ticket is about."""
    return {"subject": f"Send the receipt of {state['charge_id']}" if state["charge_id"] else "Nothing was charged"}


ticket = patient(
    TicketingService.CreateTicket,
    request=lambda state: CreateTicketRequest(subject=state["subject"], customer_id=state["customer_id"]),
    update=lambda response: {"ticket_id": response.ticket.ticket_id},
)


def steps(**changed: Any) -> StateGraph[State, RunContext, Order, Receipt]:
    """The graph, one step after the other, with some of them `changed`."""
    made = {"read": read, "agree": agree, "charge": charge, "describe": describe, "ticket": ticket, **changed}
    builder = StateGraph(State, context_schema=RunContext, input_schema=Order, output_schema=Receipt)
    for name, node in made.items():
        builder.add_node(name, node)
    for before, after in zip([START, *made], [*made, END], strict=True):
        builder.add_edge(before, after)
    return builder


graph = steps()
