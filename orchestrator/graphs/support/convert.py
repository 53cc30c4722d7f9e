"""Converts between the services' protobuf messages and the state."""

from datetime import UTC

from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.retrieval import v1 as retrieval
from graphmesh.ticketing import v1 as ticketing

from support import policy, summary
from support.relevance import question_of, relevance
from support.state import Account, Invoice, Line, Order, Passage, RefundClaim, State, Terms

MAX_QUERY_CHARACTERS = 4_000
MAX_DESCRIPTION_CHARACTERS = 10_000
MAX_PASSAGES = 8


def account(customer: crm.Customer) -> Account:
    """Keep no personal data of the customer."""
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
    return Line(
        line_id=line.line_id,
        description=line.description,
        quantity=line.quantity,
        amount=line.amount.amount_minor,
    )


def passage(message: retrieval.Passage, question: str) -> Passage:
    """Convert a passage, with its relevance to the customer's `question`."""
    title = " › ".join([message.title, *(heading for heading in message.heading_path if heading != message.title)])
    rating = relevance(question, title, message.text)
    return Passage(document_id=message.document_id, title=title, text=message.text, relevance=rating)


def order_passage(order: Order) -> Passage:
    """Make a passage of an order's status in the CRM, to be quoted like an article."""
    text = f"The status of your order {order['order_id']}, {order['title']}, is: {order['status']}."
    return Passage(document_id=order["order_id"], title=f"Order {order['order_id']}", text=text, relevance=1.0)


def search_request(state: State) -> retrieval.SearchRequest:
    return retrieval.SearchRequest(query=question_of(state["message"])[:MAX_QUERY_CHARACTERS], limit=MAX_PASSAGES)


def preview_request(claim: RefundClaim) -> billing.PreviewRefundRequest:
    return billing.PreviewRefundRequest(charge_id=claim["charge_id"], amount=_amount(claim), lines=_lines(claim))


def refund_request(claim: RefundClaim, terms: Terms) -> billing.RefundRequest:
    return billing.RefundRequest(
        charge_id=claim["charge_id"],
        amount=_amount(claim),
        cause=f"Granted by the support agent: the customer reports the item as {claim['cause']}",
        lines=_lines(claim),
        expected_refunded=Money(currency_code=claim["currency"], amount_minor=terms["refunded"]),
    )


def _amount(claim: RefundClaim) -> Money:
    return Money(currency_code=claim["currency"], amount_minor=policy.total(claim))


def _lines(claim: RefundClaim) -> list[billing.LineSelection]:
    return [billing.LineSelection(line_id=line["line_id"], quantity=line["quantity"]) for line in claim["lines"]]


def ticket_request(state: State) -> ticketing.CreateTicketRequest:
    reason = state["reason"] or "unsure"
    return ticketing.CreateTicketRequest(
        subject=summary.subject(state),
        description=summary.description(state)[:MAX_DESCRIPTION_CHARACTERS],
        topic=_topic(state),
        customer_id=state["customer_id"],
        tags=["support-agent", state["category"], reason.replace("_", "-")],
    )


def _topic(state: State) -> str:
    """What the ticket is about: the tenant's ticket policy decides which queue has the topic."""
    if topic := policy.topic(state["message"]):
        return topic
    account = state["account"]
    if state["reason"] == "refund_uncertain":
        return "refund-uncertain"
    if state["reason"] == "person_wanted":
        return "complaint"
    return "vip" if account is not None and account["tier"] == "vip" else ""
