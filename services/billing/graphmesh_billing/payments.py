"""The use cases of billing that change something."""

from datetime import UTC, datetime
from uuid import uuid4

from graphmesh_billing import domain
from graphmesh_billing.domain import Charge, Invoice, Line, Money, Refund
from graphmesh_billing.errors import rules
from graphmesh_billing.ledger import Ledger


async def issue_invoice(
    ledger: Ledger, invoice_id: str, customer_id: str, lines: tuple[Line, ...], issued: datetime | None
) -> Invoice:
    """Issue an invoice. Raises AlreadyExists, RuleViolated."""
    with rules():
        invoice, posting = domain.issue(invoice_id or _new_id("in"), customer_id, lines, issued or datetime.now(UTC))
    await ledger.add_invoice(invoice, posting)
    return invoice


async def charge(ledger: Ledger, invoice_id: str, amount: Money) -> tuple[Invoice, Charge]:
    """Take money for an invoice. Raises NotFound, RuleViolated."""
    invoice = await ledger.invoice(invoice_id, hold=True)
    with rules():
        after, made, posting = domain.charge(invoice, _new_id("ch"), amount, datetime.now(UTC))
    await ledger.add_charge(made, after, posting)
    return after, made


async def refund(ledger: Ledger, charge_id: str, amount: Money, cause: str) -> tuple[Charge, Refund]:
    """Give money of a charge back. Raises NotFound, RuleViolated."""
    paid = await ledger.charge(charge_id, hold=True)
    with rules():
        after, made, posting = domain.refund(paid, _new_id("re"), amount, cause, datetime.now(UTC))
    await ledger.add_refund(made, after, posting)
    return after, made


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"
