"""Use cases of billing that write: issue an invoice, charge it, refund a charge."""

from datetime import UTC, datetime
from uuid import uuid4

from graphmesh_chassis.errors import rule_violations

from graphmesh_billing import domain
from graphmesh_billing.domain import Charge, Invoice, Line, Money, Refund, RuleBroken
from graphmesh_billing.ledger import Ledger


async def issue_invoice(
    ledger: Ledger, invoice_id: str, customer_id: str, lines: tuple[Line, ...], issued: datetime | None
) -> Invoice:
    """Store a new invoice; an empty id is replaced by a generated one. Raises AlreadyExists, RuleViolated."""
    with rule_violations(RuleBroken):
        invoice, posting = domain.issue(invoice_id or _new_id("in"), customer_id, lines, issued or datetime.now(UTC))
    await ledger.add_invoice(invoice, posting)
    return invoice


async def charge(ledger: Ledger, invoice_id: str, amount: Money) -> tuple[Invoice, Charge]:
    """Charge an invoice. Raises NotFound, RuleViolated."""
    invoice = await ledger.invoice(invoice_id, for_update=True)
    with rule_violations(RuleBroken):
        updated, created, posting = domain.charge(invoice, _new_id("ch"), amount, datetime.now(UTC))
    await ledger.add_charge(created, updated, posting)
    return updated, created


async def refund(ledger: Ledger, charge_id: str, amount: Money, cause: str) -> tuple[Charge, Refund]:
    """Refund a charge, wholly or in part. Raises NotFound, RuleViolated."""
    charge = await ledger.charge(charge_id, for_update=True)
    with rule_violations(RuleBroken):
        updated, created, posting = domain.refund(charge, _new_id("re"), amount, cause, datetime.now(UTC))
    await ledger.add_refund(created, updated, posting)
    return updated, created


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"
