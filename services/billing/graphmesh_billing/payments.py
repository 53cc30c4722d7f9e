"""Use cases of billing that write: issue, charge and credit an invoice, charge back. Refunds are in `refunds`."""

from collections.abc import Sequence
from datetime import UTC, datetime

from graphmesh_chassis.errors import rule_violations
from graphmesh_contracts.money import Money

from graphmesh_billing import domain
from graphmesh_billing.domain import Charge, CreditNote, Invoice, Line, LineRequest, RuleBroken
from graphmesh_billing.ids import new_id
from graphmesh_billing.ledger import Ledger
from graphmesh_billing.line_amounts import requested_lines


async def issue_invoice(
    ledger: Ledger,
    invoice_id: str,
    customer_id: str,
    lines: Sequence[Line],
    issued: datetime | None,
    *,
    tax_included: bool = False,
) -> Invoice:
    """Store a new invoice; an empty id is replaced by a generated one. Raises AlreadyExists, RuleViolated."""
    with rule_violations(RuleBroken):
        invoice, entry = domain.issue(
            invoice_id or new_id("in"), customer_id, lines, issued or datetime.now(UTC), tax_included=tax_included
        )
    await ledger.add_invoice(invoice, entry)
    return invoice


async def charge(ledger: Ledger, invoice_id: str, amount: Money) -> tuple[Invoice, Charge]:
    """Charge an invoice. Raises NotFound, RuleViolated."""
    invoice = await ledger.invoice(invoice_id, for_update=True)
    with rule_violations(RuleBroken):
        updated, created, entry = domain.charge(invoice, new_id("ch"), amount, datetime.now(UTC))
    await ledger.add_charge(created, updated, entry)
    return updated, created


async def charge_back(ledger: Ledger, charge_id: str, amount: Money) -> tuple[Invoice, Charge]:
    """Record that the customer's bank has taken an amount of a charge back. Raises NotFound, RuleViolated."""
    invoice_id = (await ledger.charge(charge_id)).invoice_id
    invoice = await ledger.invoice(invoice_id, for_update=True)
    charge = await ledger.charge(charge_id, for_update=True)
    with rule_violations(RuleBroken):
        invoice, charge, entry = domain.charge_back(invoice, charge, new_id("cb"), amount, await ledger.now())
    await ledger.add_chargeback(charge, invoice, entry)
    return invoice, charge


async def credit(
    ledger: Ledger, invoice_id: str, lines: Sequence[LineRequest], cause: str
) -> tuple[Invoice, CreditNote]:
    """Credit lines of an invoice. Raises NotFound, RuleViolated."""
    invoice = await ledger.invoice(invoice_id, for_update=True)
    with rule_violations(RuleBroken):
        parts = requested_lines(invoice, lines)
        amount = Money(invoice.total.currency, sum(part.amount for part in parts))
        note = CreditNote(new_id("cn"), invoice_id, amount, cause, await ledger.now(), parts)
        updated, entry = domain.credit(invoice, note)
    await ledger.add_credit_note(note, updated, entry)
    return updated, note
