"""A desk with customers and tickets, and a harness of the operations agent on it."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.message import Message
from graphmesh.crm import v1 as crm
from graphmesh.ticketing import v1 as ticketing
from graphmesh_nodes import Limits
from graphmesh_nodes.budget import NO_LIMITS
from graphmesh_nodes.errors import NotFound, VersionMismatch
from graphmesh_nodes.testing import GraphHarness, RunResult
from operations.graph import graph

OPEN = ticketing.TicketStatus.TICKET_STATUS_OPEN
LEAD = "operations_lead"


class Desk:
    """The services crm and ticketing, with three customers and three tickets of the first."""

    def __init__(self) -> None:
        self.customers = {
            name: crm.Customer(customer_id=name, name=f"Name {name}", email=f"{name}@example.org", version=1)
            for name in ("cu_1", "cu_2", "cu_3")
        }
        self.tickets = {
            name: ticketing.Ticket(
                ticket_id=name, customer_id="cu_1", status=OPEN, queue="normal", priority="normal", version=1
            )
            for name in ("T-1", "T-2", "T-3")
        }
        self.opened: list[ticketing.CreateTicketRequest] = []

    def GetCustomer(self, request: crm.GetCustomerRequest) -> crm.GetCustomerResponse:
        return crm.GetCustomerResponse(customer=found(self.customers, request.customer_id))

    def SearchCustomers(self, request: crm.SearchCustomersRequest) -> crm.SearchCustomersResponse:
        return crm.SearchCustomersResponse(customers=self.customers.values())

    def UpdateCustomer(self, request: crm.UpdateCustomerRequest) -> crm.UpdateCustomerResponse:
        customer = found(self.customers, request.customer_id)
        changed(customer, request.customer, request.update_mask.paths, request.expected_version)
        return crm.UpdateCustomerResponse(customer=customer)

    def GetTicket(self, request: ticketing.GetTicketRequest) -> ticketing.GetTicketResponse:
        return ticketing.GetTicketResponse(ticket=found(self.tickets, request.ticket_id))

    def SearchTickets(self, request: ticketing.SearchTicketsRequest) -> ticketing.SearchTicketsResponse:
        tickets = [one for one in self.tickets.values() if request.customer_id in ("", one.customer_id)]
        return ticketing.SearchTicketsResponse(tickets=[one for one in tickets if request.status in (0, one.status)])

    def UpdateTicket(self, request: ticketing.UpdateTicketRequest) -> ticketing.UpdateTicketResponse:
        ticket = found(self.tickets, request.ticket_id)
        changed(ticket, request.ticket, request.update_mask.paths, request.expected_version)
        return ticketing.UpdateTicketResponse(ticket=ticket)

    def GetTicketPolicy(self, request: ticketing.GetTicketPolicyRequest) -> ticketing.GetTicketPolicyResponse:
        priorities = [ticketing.TicketPriority(name=name) for name in ("high", "normal")]
        queues = [ticketing.TicketQueue(name=name, priority="normal") for name in ("normal", "legal")]
        policy = ticketing.TicketPolicy(priorities=priorities, queues=queues, default_queue="normal")
        return ticketing.GetTicketPolicyResponse(policy=policy)

    def CreateTicket(self, request: ticketing.CreateTicketRequest) -> ticketing.CreateTicketResponse:
        self.opened.append(request)
        return ticketing.CreateTicketResponse(ticket=ticketing.Ticket(ticket_id="T-99"))


def found(records: dict[str, Any], record_id: str) -> Any:
    if record_id not in records:
        raise NotFound(resource="record", id=record_id)
    return records[record_id]


def changed(record: Any, update: Message, paths: Collection[str], expected_version: int) -> None:
    if record.version != expected_version:
        raise VersionMismatch(expected=expected_version, actual=record.version)
    for path in paths:
        if path == "attributes":
            record.attributes.clear()
            record.attributes.update(update.attributes)  # type: ignore[attr-defined]  # of a customer
        else:
            setattr(record, path, getattr(update, path))
    record.version += 1


def harness_of(
    desk: Desk,
    roles: Collection[str] | None = (LEAD,),
    model: Mapping[str, Any] | None = None,
    limits: Limits = NO_LIMITS,
) -> GraphHarness:
    """Return a harness whose model is offline, or always answers with `model`."""
    harness = GraphHarness(graph, subject="mira", roles=roles, limits=limits)
    harness.serve_all(crm.CrmService, desk)
    harness.serve_all(ticketing.TicketingService, desk)
    harness.model_replies(lambda prompt: model or "none", offline=model is None)
    return harness


async def accept(harness: GraphHarness, result: RunResult) -> RunResult:
    """Accept the proposal of a run by its id."""
    [question] = result.questions
    return await harness.answer(question, {"proposal": question.value["proposal"]["id"], "accept": True})
