"""Protobuf to state and back. The services' messages stop here."""

from datetime import UTC

from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.retrieval import v1 as retrieval
from graphmesh.ticketing import v1 as ticketing

from support import policy, summary
from support.relevance import question, relevance
from support.state import Account, Claim, Invoice, Line, Order, Passage, State

LONGEST_QUERY = 4_000
LONGEST_DESCRIPTION = 10_000
PASSAGES = 8


def account(customer: crm.Customer) -> Account:
    """Nothing of the customer that says who they are."""
    tier = crm.CustomerTier.Name(customer.tier).removeprefix("CUSTOMER_TIER_").lower()
    return Account(known=True, tier=tier)


def order(record: crm.Record) -> Order:
    return Order(order_id=record.record_id, title=record.title, status=record.status)


def invoice(message: billing.Invoice) -> Invoice:
    return Invoice(
        invoice_id=message.invoice_id,
        currency=message.total.currency_code,
        total=message.total.amount_minor,
        paid=message.status == billing.InvoiceStatus.INVOICE_STATUS_PAID,
        issued=message.issue_time.ToDatetime(tzinfo=UTC).isoformat(),
        charge_ids=list(message.charge_ids),
        lines=[_line(line) for line in message.lines],
    )


def _line(line: billing.InvoiceLine) -> Line:
    return Line(description=line.description, amount=line.quantity * line.unit_price.amount_minor)


def charge(message: billing.Charge) -> policy.Charge:
    return policy.Charge(message.amount.amount_minor, message.refunded.amount_minor)


def passage(message: retrieval.Passage, asked: str) -> Passage:
    """A passage, with how much it speaks of what is `asked`."""
    title = " › ".join([message.title, *(heading for heading in message.heading_path if heading != message.title)])
    rating = relevance(asked, title, message.text)
    return Passage(document_id=message.document_id, title=title, text=message.text, relevance=rating)


def order_passage(order: Order) -> Passage:
    """What the CRM says of an order, to be quoted like an article."""
    text = f"The status of your order {order['order_id']}, {order['title']}, is: {order['status']}."
    return Passage(document_id=order["order_id"], title=f"Order {order['order_id']}", text=text, relevance=1.0)


def search_request(state: State) -> retrieval.SearchRequest:
    return retrieval.SearchRequest(query=question(state["message"])[:LONGEST_QUERY], limit=PASSAGES)


def refund_request(claim: Claim) -> billing.RefundRequest:
    return billing.RefundRequest(
        charge_id=claim["charge_id"],
        amount=Money(currency_code=claim["currency"], amount_minor=claim["amount"]),
        cause=f"Granted by the support agent: the customer reports the item as {claim['cause']}",
    )


def ticket_request(state: State) -> ticketing.CreateTicketRequest:
    reason = state["reason"] or "unsure"
    return ticketing.CreateTicketRequest(
        subject=summary.subject(state),
        description=summary.description(state)[:LONGEST_DESCRIPTION],
        priority=_priority(state),
        customer_id=state["customer_id"],
        tags=["support-agent", state["category"], reason.replace("_", "-")],
    )


def _priority(state: State) -> ticketing.TicketPriority.ValueType:
    account = state["account"]
    important = state["reason"] in ("person_wanted", "refund_uncertain")
    if important or (account is not None and account["tier"] == "vip"):
        return ticketing.TicketPriority.TICKET_PRIORITY_HIGH
    return ticketing.TicketPriority.TICKET_PRIORITY_NORMAL
