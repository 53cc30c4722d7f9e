"""Converts between billing's protobuf messages and its domain types. The domain imports no protobuf."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money as MoneyMessage
from graphmesh_chassis.errors import RuleViolated
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp
from graphmesh_contracts.money import Money

from graphmesh_billing.domain import (
    Balance,
    Charge,
    CreditNote,
    Invoice,
    Kind,
    Line,
    LineAmount,
    LineRequest,
    Refund,
    TaxLine,
)
from graphmesh_billing.ledger import Period, StatementEntry

MAX_SUM: Final = 2**63 - 1
"""The largest sum that a field of the contract holds."""
KIND_MESSAGES = {
    Kind.INVOICE: pb.StatementKind.STATEMENT_KIND_INVOICE,
    Kind.CHARGE: pb.StatementKind.STATEMENT_KIND_CHARGE,
    Kind.CREDIT_NOTE: pb.StatementKind.STATEMENT_KIND_CREDIT_NOTE,
    Kind.REFUND: pb.StatementKind.STATEMENT_KIND_REFUND,
    Kind.CHARGEBACK: pb.StatementKind.STATEMENT_KIND_CHARGEBACK,
}


def money(message: MoneyMessage) -> Money:
    return Money(message.currency_code, message.amount_minor)


def lines(request: pb.CreateInvoiceRequest) -> tuple[Line, ...]:
    return tuple(
        Line(
            line.description,
            line.quantity,
            money(line.unit_price),
            line.line_id,
            line.tax_name,
            line.tax_rate_ppm,
        )
        for line in request.lines
    )


def issue_time(request: pb.CreateInvoiceRequest) -> datetime | None:
    return from_timestamp(request.issue_time) if request.HasField("issue_time") else None


def line_requests(messages: Iterable[pb.LineSelection]) -> tuple[LineRequest, ...]:
    return tuple(
        LineRequest(line.line_id, line.quantity, money(line.amount) if line.HasField("amount") else None)
        for line in messages
    )


def period(request: pb.GetStatementRequest) -> Period:
    return Period(
        request.customer_id,
        request.currency_code,
        from_timestamp(request.start_time) if request.HasField("start_time") else None,
        from_timestamp(request.end_time) if request.HasField("end_time") else None,
    )


def money_message(amount: Money) -> MoneyMessage:
    return MoneyMessage(currency_code=amount.currency, amount_minor=amount.minor)


def sum_of_amounts(total: int) -> int:
    """Return a sum of amounts, which may have more bits than a field of the contract.

    Raises:
        RuleViolated: it has.
    """
    if abs(total) > MAX_SUM:
        raise RuleViolated(f"a sum of amounts exceeds {MAX_SUM} minor units", rule="sum_too_large")
    return total


def invoice_message(invoice: Invoice) -> pb.Invoice:
    currency = invoice.total.currency
    return pb.Invoice(
        invoice_id=invoice.invoice_id,
        customer_id=invoice.customer_id,
        lines=[line_message(line, currency) for line in invoice.lines],
        total=money_message(invoice.total),
        outstanding=money_message(invoice.outstanding),
        status=pb.InvoiceStatus.INVOICE_STATUS_PAID if invoice.paid else pb.InvoiceStatus.INVOICE_STATUS_OPEN,
        issue_time=to_timestamp(invoice.issued),
        charge_ids=invoice.charge_ids,
        tax_lines=[_tax_line_message(line, currency) for line in invoice.tax_lines],
        credited=money_message(invoice.credited),
        refunded=money_message(invoice.refunded),
    )


def charge_message(charge: Charge) -> pb.Charge:
    return pb.Charge(
        charge_id=charge.charge_id,
        invoice_id=charge.invoice_id,
        amount=money_message(charge.amount),
        refunded=money_message(charge.refunded),
        create_time=to_timestamp(charge.created),
        charged_back=money_message(charge.charged_back),
    )


def refund_message(refund: Refund) -> pb.Refund:
    return pb.Refund(
        refund_id=refund.refund_id,
        charge_id=refund.charge_id,
        amount=money_message(refund.amount),
        cause=refund.cause,
        create_time=to_timestamp(refund.created),
        lines=line_amount_messages(refund.lines, refund.amount.currency),
        invoice_id=refund.invoice_id,
        policy_version=refund.policy_version,
        approval_id=refund.approval_id,
        policy_exception=refund.policy_exception,
    )


def credit_note_message(note: CreditNote) -> pb.CreditNote:
    return pb.CreditNote(
        credit_note_id=note.credit_note_id,
        invoice_id=note.invoice_id,
        amount=money_message(note.amount),
        cause=note.cause,
        create_time=to_timestamp(note.created),
        lines=line_amount_messages(note.lines, note.amount.currency),
    )


def balance_message(balance: Balance) -> pb.AccountBalance:
    return pb.AccountBalance(
        account=balance.account,
        currency_code=balance.currency,
        debit_minor=sum_of_amounts(balance.debit),
        credit_minor=sum_of_amounts(balance.credit),
    )


def statement_entry_message(found: StatementEntry, balance: int) -> pb.StatementEntry:
    entry = found.entry
    return pb.StatementEntry(
        post_time=to_timestamp(entry.created),
        kind=KIND_MESSAGES[entry.kind],
        reference=entry.reference,
        invoice_id=entry.invoice_id,
        amount=money_message(entry.amount),
        balance_minor=sum_of_amounts(balance),
    )


def line_message(line: Line, currency: str) -> pb.InvoiceLine:
    return pb.InvoiceLine(
        description=line.description,
        quantity=line.quantity,
        unit_price=money_message(line.unit_price),
        line_id=line.line_id,
        tax_name=line.tax_name,
        tax_rate_ppm=line.tax_rate,
        amount=MoneyMessage(currency_code=currency, amount_minor=line.amount),
        tax=MoneyMessage(currency_code=currency, amount_minor=line.tax),
        refunded=MoneyMessage(currency_code=currency, amount_minor=line.refunded),
        credited=MoneyMessage(currency_code=currency, amount_minor=line.credited),
        returned_quantity=line.returned,
    )


def line_amount_messages(lines: Iterable[LineAmount], currency: str) -> list[pb.LineAmount]:
    return [
        pb.LineAmount(
            line_id=line.line_id,
            quantity=line.quantity,
            amount=MoneyMessage(currency_code=currency, amount_minor=line.amount),
            tax=MoneyMessage(currency_code=currency, amount_minor=line.tax),
        )
        for line in lines
    ]


def _tax_line_message(line: TaxLine, currency: str) -> pb.TaxLine:
    return pb.TaxLine(
        tax_name=line.name,
        tax_rate_ppm=line.rate,
        net=MoneyMessage(currency_code=currency, amount_minor=line.net),
        tax=MoneyMessage(currency_code=currency, amount_minor=line.tax),
    )
