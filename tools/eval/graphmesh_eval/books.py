"""The records of a case as the services have them: an agent has done what differs between two readings."""

from collections.abc import Mapping
from dataclasses import dataclass

from graphmesh.billing.v1 import (
    BillingService,
    GetChargeRequest,
    GetTrialBalanceRequest,
    Invoice,
    ListInvoicesRequest,
)
from graphmesh.crm.v1 import CrmService, Customer, CustomerTier, GetCustomerRequest, ListRecordsRequest
from graphmesh.ticketing.v1 import (
    GetTicketRequest,
    GetTicketResponse,
    SearchTicketsRequest,
    TicketingService,
    TicketStatus,
)
from graphmesh_cli.commands.service_calls import ServiceCalls
from graphmesh_contracts import format_money

from graphmesh_eval.scene import Person

MAX_INVOICES = 100
MAX_TICKETS = 100
CASH = "cash"
"""The account of the ledger that every refund credits."""

Values = Mapping[str, str]


@dataclass(frozen=True)
class OpenedTicket:
    ticket_id: str
    queue: str
    priority: str
    text: str


@dataclass(frozen=True)
class Books:
    """The records of one customer."""

    refunds: Mapping[str, tuple[str, int]]
    """By their ids, with currency and minor units."""
    values: Values
    """The fields that a change would be one of: `customer.email`, `T-7.queue`, `INV-1.credited` …"""
    tickets: Mapping[str, OpenedTicket]


@dataclass(frozen=True)
class Changes:
    """What an agent has done to the records of one customer."""

    refunds: tuple[tuple[str, int], ...]
    values: Values
    """The new values, by the names of `Books.values`."""
    tickets: tuple[OpenedTicket, ...]

    @property
    def money(self) -> str:
        """Return the sums by currency, as texts; empty for none."""
        sums: dict[str, int] = {}
        for currency, minor in self.refunds:
            sums[currency] = sums.get(currency, 0) + minor
        return " + ".join(format_money(currency, minor) for currency, minor in sorted(sums.items()))


def changes(before: Books, after: Books) -> Changes:
    """Return what is new in `after`. A ticket that is new has no changed values."""
    names = sorted(before.values.keys() | after.values.keys())
    fresh = tuple(one for key, one in after.tickets.items() if key not in before.tickets)
    new_ids = {ticket.ticket_id for ticket in fresh}
    return Changes(
        refunds=tuple(one for key, one in after.refunds.items() if key not in before.refunds),
        values={
            name: after.values.get(name, "")
            for name in names
            if before.values.get(name) != after.values.get(name) and name.partition(".")[0] not in new_ids
        },
        tickets=fresh,
    )


async def read_books(calls: ServiceCalls, person: Person) -> Books:
    """Read the records of a customer from billing, the CRM and ticketing."""
    request = ListInvoicesRequest(customer_id=person.customer_id, page_size=MAX_INVOICES)
    invoices = list((await calls(BillingService.ListInvoices, request)).invoices)
    customer = (await calls(CrmService.GetCustomer, GetCustomerRequest(customer_id=person.customer_id))).customer
    records = await calls(CrmService.ListRecords, ListRecordsRequest(customer_id=person.customer_id, page_size=100))
    search = SearchTicketsRequest(customer_id=person.customer_id, page_size=MAX_TICKETS)
    found = list((await calls(TicketingService.SearchTickets, search)).tickets)
    tickets = [await calls(TicketingService.GetTicket, GetTicketRequest(ticket_id=one.ticket_id)) for one in found]
    refunds = [await _refunds(calls, charge) for invoice in invoices for charge in invoice.charge_ids]
    orders = {f"{record.record_id}.status": record.status for record in records.records}
    return Books(
        refunds={key: value for made in refunds for key, value in made.items()},
        values={**_customer(customer), **_invoices(invoices), **orders, **_tickets(tickets)},
        tickets={
            one.ticket_id: OpenedTicket(one.ticket_id, one.queue, one.priority, f"{one.subject}\n{one.description}")
            for one in found
        },
    )


async def cash_paid_out(calls: ServiceCalls) -> Mapping[str, int]:
    """Return what has left the cash account by now, by currency: of all customers, in minor units."""
    balance = await calls(BillingService.GetTrialBalance, GetTrialBalanceRequest())
    return {row.currency_code: row.credit_minor for row in balance.accounts if row.account == CASH}


async def _refunds(calls: ServiceCalls, charge_id: str) -> dict[str, tuple[str, int]]:
    found = await calls(BillingService.GetCharge, GetChargeRequest(charge_id=charge_id))
    return {one.refund_id: (one.amount.currency_code, one.amount.amount_minor) for one in found.refunds}


def _customer(customer: Customer) -> dict[str, str]:
    fields = {name: str(getattr(customer, name)) for name in ("name", "email", "phone", "company", "locale")}
    tier = CustomerTier.Name(customer.tier).removeprefix("CUSTOMER_TIER_").lower()
    attributes = {f"customer.attributes.{key}": value for key, value in customer.attributes.items()}
    return {**{f"customer.{name}": value for name, value in fields.items()}, "customer.tier": tier, **attributes}


def _invoices(invoices: list[Invoice]) -> dict[str, str]:
    """Of what changes an invoice, except for its refunds and charges."""
    credited = {
        f"{one.invoice_id}.credited": format_money(one.credited.currency_code, one.credited.amount_minor)
        for one in invoices
        if one.credited.amount_minor
    }
    charges = {f"{one.invoice_id}.charges": str(len(one.charge_ids)) for one in invoices}
    return {**credited, **charges}


def _tickets(tickets: list[GetTicketResponse]) -> dict[str, str]:
    values: dict[str, str] = {}
    for response in tickets:
        ticket = response.ticket
        status = TicketStatus.Name(ticket.status).removeprefix("TICKET_STATUS_").lower()
        fields = {
            "queue": ticket.queue,
            "priority": ticket.priority,
            "assignee": ticket.assignee,
            "status": status,
            "comments": str(len(response.comments)),
        }
        values |= {f"{ticket.ticket_id}.{name}": value for name, value in fields.items()}
    return values
