"""Reads records of services as plain fields."""

from functools import partial

from graphmesh.crm import v1 as crm
from graphmesh.ticketing import v1 as ticketing
from graphmesh_nodes import call
from graphmesh_nodes.guardrails.tool_outputs import is_record

from operations.state import Change, Record
from operations.values import ATTRIBUTE, shown_value, wire_value

PAGE = 100
EMPTY_PAGE, OTHER_RECORDS = "it has no records and a next page", "it has records that the filters do not select"


async def read(record: Record, record_id: str) -> tuple[dict[str, str], int]:
    """Return the fields of a record, and its version. Raises GraphmeshError."""
    if record == "customer":
        request = crm.GetCustomerRequest(customer_id=record_id)
        response = await call(
            crm.CrmService.GetCustomer, request, expect=lambda found: is_record(found.customer.customer_id, record_id)
        )
        return customer_fields(response.customer)
    found = await call(
        ticketing.TicketingService.GetTicket,
        ticketing.GetTicketRequest(ticket_id=record_id),
        expect=lambda found: is_record(found.ticket.ticket_id, record_id),
    )
    return ticket_fields(found.ticket)


def customer_fields(customer: crm.Customer) -> tuple[dict[str, str], int]:
    tier = shown_value("customer", "tier", crm.CustomerTier.Name(customer.tier))
    plain = {name: getattr(customer, name) for name in ("name", "email", "phone", "company", "locale")}
    attributes = {f"{ATTRIBUTE}{name}": value for name, value in customer.attributes.items()}
    return {**plain, "tier": tier, **attributes}, customer.version


def ticket_fields(ticket: ticketing.Ticket) -> tuple[dict[str, str], int]:
    status = shown_value("ticket", "status", ticketing.TicketStatus.Name(ticket.status))
    plain = {name: getattr(ticket, name) for name in ("priority", "assignee", "queue")}
    return {**plain, "status": status}, ticket.version


async def selected(change: Change, limit: int) -> list[str]:
    """Return the ids of the records that the filters of a change select: at most one more than `limit`. A page that has
    other records than those, or none and yet a next page, is not believed. Raises GraphmeshError."""
    where, found, token = change.get("where", {}), list[str](), ""
    while len(found) <= limit:
        if change["record"] == "customer":
            customers = crm.SearchCustomersRequest(
                text=where.get("text", ""), email=where.get("email", ""), page_size=PAGE, page_token=token
            )
            page = await call(
                crm.CrmService.SearchCustomers, customers, expect=partial(_is_page_of_customers, customers)
            )
            found += [customer.customer_id for customer in page.customers]
            token = page.next_page_token
        else:
            search = _ticket_search(where, token)
            tickets = await call(
                ticketing.TicketingService.SearchTickets, search, expect=partial(_is_page_of_tickets, search)
            )
            found += [ticket.ticket_id for ticket in tickets.tickets]
            token = tickets.next_page_token
        if not token:
            break
    return found[: limit + 1]


def _is_page_of_customers(request: crm.SearchCustomersRequest, page: crm.SearchCustomersResponse) -> str:
    if page.next_page_token and not page.customers:
        return EMPTY_PAGE
    wanted = request.email.casefold()
    is_of = all(wanted in ("", customer.email.casefold()) for customer in page.customers)
    return "" if is_of else OTHER_RECORDS


def _is_page_of_tickets(request: ticketing.SearchTicketsRequest, page: ticketing.SearchTicketsResponse) -> str:
    if page.next_page_token and not page.tickets:
        return EMPTY_PAGE
    names = [name for name in ("status", "customer_id", "queue", "priority") if getattr(request, name)]
    is_of = all(getattr(ticket, name) == getattr(request, name) for ticket in page.tickets for name in names)
    return "" if is_of else OTHER_RECORDS


def _ticket_search(where: dict[str, str], token: str) -> ticketing.SearchTicketsRequest:
    status = wire_value("ticket", "status", where["status"]) if "status" in where else "TICKET_STATUS_UNSPECIFIED"
    return ticketing.SearchTicketsRequest(
        text=where.get("text", ""),
        status=ticketing.TicketStatus.Value(status),
        customer_id=where.get("customer_id", ""),
        queue=where.get("queue", ""),
        priority=where.get("priority", ""),
        page_size=PAGE,
        page_token=token,
    )
