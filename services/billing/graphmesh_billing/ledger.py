"""Port of billing, one tenant's invoices, charges, refunds and postings, and its in-memory twin."""

from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound

from graphmesh_billing.domain import Balance, Charge, Invoice, Posting, Refund


class Ledger(Protocol):
    """Invoices, charges and refunds of one tenant. Each change takes its posting, so no money moves without one."""

    async def invoice(self, invoice_id: str, *, for_update: bool = False) -> Invoice:
        """Read an invoice. With `for_update`, its row is locked until the transaction ends. Raises NotFound."""
        ...

    async def charge(self, charge_id: str, *, for_update: bool = False) -> Charge:
        """Read a charge; `for_update` as in `invoice`. Raises NotFound."""
        ...

    async def invoices(self, customer_id: str, before: tuple[datetime, str] | None, limit: int) -> list[Invoice]:
        """List at most `limit` invoices of the customer older than `before` (issue time, id), newest first."""
        ...

    async def refunds(self, charge_id: str) -> list[Refund]:
        """List the refunds of a charge, oldest first."""
        ...

    async def add_invoice(self, invoice: Invoice, posting: Posting) -> None:
        """Store an invoice and its posting. Raises AlreadyExists."""
        ...

    async def add_charge(self, charge: Charge, invoice: Invoice, posting: Posting) -> None:
        """Store a charge, its posting, and the invoice as the charge changes it."""
        ...

    async def add_refund(self, refund: Refund, charge: Charge, posting: Posting) -> None:
        """Store a refund, its posting, and the charge as the refund changes it."""
        ...

    async def balances(self) -> list[Balance]:
        """List the totals of each account and currency, ordered by account, then currency."""
        ...


class MemoryLedger:
    """Ledger of one tenant in memory. Has no locks: `for_update` changes nothing."""

    def __init__(self) -> None:
        self._invoices: dict[str, Invoice] = {}
        self._charges: dict[str, Charge] = {}
        self._refunds: dict[str, Refund] = {}
        self._postings: list[Posting] = []

    async def invoice(self, invoice_id: str, *, for_update: bool = False) -> Invoice:
        if invoice_id not in self._invoices:
            raise NotFound(resource="invoice", id=invoice_id)
        return self._invoices[invoice_id]

    async def charge(self, charge_id: str, *, for_update: bool = False) -> Charge:
        if charge_id not in self._charges:
            raise NotFound(resource="charge", id=charge_id)
        return self._charges[charge_id]

    async def invoices(self, customer_id: str, before: tuple[datetime, str] | None, limit: int) -> list[Invoice]:
        found = [invoice for invoice in self._invoices.values() if invoice.customer_id == customer_id]
        found.sort(key=_invoice_key, reverse=True)
        return [invoice for invoice in found if before is None or _invoice_key(invoice) < before][:limit]

    async def refunds(self, charge_id: str) -> list[Refund]:
        return [refund for refund in self._refunds.values() if refund.charge_id == charge_id]

    async def add_invoice(self, invoice: Invoice, posting: Posting) -> None:
        if invoice.invoice_id in self._invoices:
            raise AlreadyExists(resource="invoice", id=invoice.invoice_id)
        self._invoices[invoice.invoice_id] = invoice
        self._postings.append(posting)

    async def add_charge(self, charge: Charge, invoice: Invoice, posting: Posting) -> None:
        self._charges[charge.charge_id] = charge
        self._invoices[invoice.invoice_id] = invoice
        self._postings.append(posting)

    async def add_refund(self, refund: Refund, charge: Charge, posting: Posting) -> None:
        self._refunds[refund.refund_id] = refund
        self._charges[charge.charge_id] = charge
        self._postings.append(posting)

    async def balances(self) -> list[Balance]:
        sides = [
            side
            for posting in self._postings
            for side in (
                Balance(posting.debit, posting.amount.currency, posting.amount.minor, 0),
                Balance(posting.credit, posting.amount.currency, 0, posting.amount.minor),
            )
        ]
        sides.sort(key=_account_key)
        return [_sum(list(group)) for _, group in groupby(sides, key=_account_key)]


def _invoice_key(invoice: Invoice) -> tuple[datetime, str]:
    return (invoice.issued, invoice.invoice_id)


def _account_key(balance: Balance) -> tuple[str, str]:
    return (balance.account, balance.currency)


def _sum(sides: list[Balance]) -> Balance:
    return replace(sides[0], debit=sum(side.debit for side in sides), credit=sum(side.credit for side in sides))
