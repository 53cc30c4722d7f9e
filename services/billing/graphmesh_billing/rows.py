"""Converts between rows of the tables and the domain."""

from typing import Any

import sqlalchemy as sa
from graphmesh_contracts.money import Money

from graphmesh_billing.domain import Charge, CreditNote, Entry, Invoice, Kind, Line, LineAmount, Refund
from graphmesh_billing.ledger import StatementEntry


def changing_values(invoice: Invoice) -> dict[str, Any]:
    """The values of an invoice that change after its issue."""
    return {
        "outstanding": invoice.outstanding.minor,
        "refunded": invoice.refunded.minor,
        "credited": invoice.credited.minor,
        "lines": [{**vars(line), "unit_price": line.unit_price.minor} for line in invoice.lines],
    }


def invoice(row: sa.Row[Any], charge_ids: dict[str, tuple[str, ...]]) -> Invoice:
    return Invoice(
        row.invoice_id,
        row.customer_id,
        tuple(Line(**{**line, "unit_price": Money(row.currency, line["unit_price"])}) for line in row.lines),
        Money(row.currency, row.total),
        Money(row.currency, row.outstanding),
        row.issued,
        charge_ids.get(row.invoice_id, ()),
    )


def charge(row: sa.Row[Any]) -> Charge:
    return Charge(
        row.charge_id,
        row.invoice_id,
        Money(row.currency, row.amount),
        Money(row.currency, row.refunded),
        row.created,
        Money(row.currency, row.charged_back),
    )


def refund(row: sa.Row[Any], lines: tuple[LineAmount, ...]) -> Refund:
    return Refund(
        row.refund_id,
        row.charge_id,
        Money(row.currency, row.amount),
        row.cause,
        row.created,
        row.invoice_id,
        row.customer_id,
        lines,
        row.policy_version,
        row.approval_id or "",
        row.policy_exception,
    )


def credit_note(row: sa.Row[Any]) -> CreditNote:
    lines = tuple(LineAmount(*line) for line in row.lines)
    amount = Money(row.currency, row.amount)
    return CreditNote(row.credit_note_id, row.invoice_id, amount, row.cause, row.created, lines)


def statement_entry(row: sa.Row[Any]) -> StatementEntry:
    """The entry without its postings, which a statement does not show."""
    amount = Money(row.currency, row.amount)
    return StatementEntry(
        Entry(Kind(row.kind), row.reference, row.invoice_id, row.customer_id, amount, row.created, ()), row.id
    )
