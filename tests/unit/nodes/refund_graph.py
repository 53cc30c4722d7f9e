"""A graph for tests of the harness: reads a charge, refunds it, opens a ticket."""

import operator
from collections.abc import Mapping
from typing import Annotated, Any

from graphmesh.billing.v1 import (
    BillingService,
    Charge,
    GetChargeRequest,
    GetChargeResponse,
    Refund,
    RefundRequest,
    RefundResponse,
)
from graphmesh.common.v1 import Money
from graphmesh.ticketing.v1 import CreateTicketRequest, CreateTicketResponse, Ticket, TicketingService
from graphmesh_nodes import ApprovalRule, degrade, remote
from graphmesh_nodes.errors import ApprovalDenied, GraphmeshError, NotFound
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class Input(TypedDict):
    charge_id: str
    amount: int


class State(Input, total=False):
    refund_id: str
    ticket_id: str
    notes: Annotated[list[str], operator.add]


def note(text: str) -> Mapping[str, Any]:
    return {"notes": [text]}


def failed(what: str) -> Any:
    def update(state: State, error: GraphmeshError) -> Mapping[str, Any]:
        return note(f"{what}: {error.reason}{', it may have happened' if error.may_have_happened else ''}")

    return degrade(update)


read = remote(
    BillingService.GetCharge,
    request=lambda state: GetChargeRequest(charge_id=state["charge_id"]),
    update=lambda state, response: note(f"charged {response.charge.amount.amount_minor}"),
    refusals={NotFound: degrade(lambda state, error: note("no such charge"))},
    fallback=failed("not read"),
)
refund = remote(
    BillingService.Refund,
    request=lambda state: RefundRequest(charge_id=state["charge_id"], amount=eur(state["amount"]), cause="damaged"),
    update=lambda state, response: {"refund_id": response.refund.refund_id},
    approval=ApprovalRule(
        question=lambda state, request: f"Refund {request.amount.amount_minor} of {request.charge_id}?",
        when=lambda state, request: request.amount.amount_minor > 1000,
    ),
    refusals={ApprovalDenied: failed("denied")},
    fallback=failed("not refunded"),
)
ticket = remote(
    TicketingService.CreateTicket,
    request=lambda state: CreateTicketRequest(subject=f"Refund {state.get('refund_id', '-')}"),
    update=lambda state, response: {"ticket_id": response.ticket.ticket_id},
    fallback=failed("no ticket"),
)


def eur(amount: int) -> Money:
    return Money(currency_code="EUR", amount_minor=amount)


def chain(**nodes: Any) -> StateGraph[State, None, Input]:
    """The nodes one after the other."""
    graph = StateGraph(State, input_schema=Input)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for before, after in zip([START, *nodes], [*nodes, END], strict=True):
        graph.add_edge(before, after)
    return graph


graph = chain(read=read, refund=refund, ticket=ticket)


class Services:
    """Twins of billing and ticketing, with methods named as the RPCs."""

    def GetCharge(self, request: GetChargeRequest) -> GetChargeResponse:
        return GetChargeResponse(charge=Charge(charge_id=request.charge_id, amount=eur(5000)))

    async def Refund(self, request: RefundRequest) -> RefundResponse:
        return RefundResponse(refund=Refund(refund_id="re_1"), refundable=eur(0))

    def CreateTicket(self, request: CreateTicketRequest) -> CreateTicketResponse:
        return CreateTicketResponse(ticket=Ticket(ticket_id=f"T-{request.subject}"))
