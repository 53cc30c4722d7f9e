"""The customer's records that a message names, as sentences: what can be answered without a model."""

from collections.abc import Awaitable, Callable, Iterator

from graphmesh.billing.v1 import BillingService, ListInvoicesRequest
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import CrmService, ListRecordsRequest
from graphmesh.ticketing.v1 import SearchTicketsRequest, TicketingService, TicketStatus
from graphmesh_contracts import format_money
from graphmesh_nodes import call
from graphmesh_nodes.errors import GraphmeshError

from tool_agent.policy import Replies

PAGE = 100
"""Records of a kind that are read, newest first."""

Lookup = Callable[[str, str, Replies], Awaitable[list[str]]]


async def named_records(message: str, customer: str, texts: Replies) -> tuple[list[str], list[str]]:
    """Return a sentence on each record that the message names, and a note on each service that did not answer."""
    sentences: list[str] = []
    notes: list[str] = []
    for lookup in (_invoices, _orders, _tickets):
        try:
            sentences += await lookup(message, customer, texts)
        except GraphmeshError as error:
            notes.append(f"Records could not be read: {error.reason}.")
    return sentences, notes


def is_named(message: str, record_id: str) -> bool:
    """Whether a message names an id, which is not a part of a longer one."""
    folded, wanted = message.casefold(), record_id.casefold()
    return any(_is_whole(folded, at, at + len(wanted)) for at in _places(folded, wanted))


def _places(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


async def _invoices(message: str, customer: str, texts: Replies) -> list[str]:
    request = ListInvoicesRequest(customer_id=customer, page_size=PAGE)
    return [
        texts.invoice.format(invoice=one.invoice_id, total=_money(one.total), outstanding=_money(one.outstanding))
        for one in (await call(BillingService.ListInvoices, request)).invoices
        if is_named(message, one.invoice_id)
    ]


async def _orders(message: str, customer: str, texts: Replies) -> list[str]:
    request = ListRecordsRequest(customer_id=customer, kind="order", page_size=PAGE)
    return [
        texts.order.format(order=one.record_id, status=one.status)
        for one in (await call(CrmService.ListRecords, request)).records
        if is_named(message, one.record_id)
    ]


async def _tickets(message: str, customer: str, texts: Replies) -> list[str]:
    request = SearchTicketsRequest(customer_id=customer, page_size=PAGE)
    return [
        texts.ticket_status.format(ticket=one.ticket_id, status=_name(TicketStatus.Name(one.status)))
        for one in (await call(TicketingService.SearchTickets, request)).tickets
        if is_named(message, one.ticket_id)
    ]


def _name(status: str) -> str:
    return status.removeprefix("TICKET_STATUS_").lower()


def _money(money: Money) -> str:
    return format_money(money.currency_code, money.amount_minor)
