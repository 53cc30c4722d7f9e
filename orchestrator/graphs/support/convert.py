"""Converts the services' messages into the state, and the state into requests."""

from datetime import UTC

from graphmesh.billing import v1 as billing
from graphmesh.common.v1 import Money
from graphmesh.crm import v1 as crm
from graphmesh.retrieval import v1 as retrieval

from support.state import Account, Claim, Invoice, Line, Order, Passage, Terms

MAX_QUERY_CHARACTERS = 4_000
MAX_PASSAGES = 8


def account(customer: crm.Customer) -> Account:
    """Keep no personal data of the customer."""
    tier = crm.CustomerTier.Name(customer.tier).removeprefix("CUSTOMER_TIER_").lower()
    return Account(known=True, tier=tier, language=customer.locale.partition("-")[0].lower())


def order(record: crm.Record) -> Order:
    return Order(
        order_id=record.record_id,
        invoice_id=record.attributes.get("invoice_id", ""),
        title=record.title,
        status=record.status,
    )


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
        returned=line.returned_quantity,
        refunded=line.refunded.amount_minor + line.credited.amount_minor,
    )


def passage(message: retrieval.Passage) -> Passage:
    title = " › ".join([message.title, *(heading for heading in message.heading_path if heading != message.title)])
    return Passage(document_id=message.document_id, title=title, text=message.text, score=round(message.score, 3))


def preview_request(claim: Claim) -> billing.PreviewRefundRequest:
    return billing.PreviewRefundRequest(charge_id=claim["charge_id"], amount=_amount(claim), lines=_lines(claim))


def refund_request(claim: Claim, terms: Terms) -> billing.RefundRequest:
    return billing.RefundRequest(
        charge_id=claim["charge_id"],
        amount=_amount(claim),
        cause=f"Confirmed by the customer, who reports: {claim['cause'].replace('_', ' ')}",
        lines=_lines(claim),
        expected_refunded=Money(currency_code=claim["currency"], amount_minor=terms["refunded"]),
    )


def _amount(claim: Claim) -> Money:
    return Money(currency_code=claim["currency"], amount_minor=claim["amount"])


def _lines(claim: Claim) -> list[billing.LineSelection]:
    return [billing.LineSelection(line_id=line["line_id"], quantity=line["quantity"]) for line in claim["lines"]]
