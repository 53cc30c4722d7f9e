"""Port of billing, one tenant's invoices, charges, refunds and journal, and its in-memory twin."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound

from graphmesh_billing.domain import Balance, Charge, CreditNote, Entry, Invoice, Refund
from graphmesh_billing.refund_policy import DEFAULT_POLICY, RefundPolicy, Scope, Subject, Used


@dataclass(frozen=True)
class StatementEntry:
    """An entry of the journal in a statement; `entry_id` grows in the order of posting."""

    entry: Entry
    entry_id: int


@dataclass(frozen=True)
class Period:
    """A customer's entries in one currency, from `start` on and before `end`; None for no bound."""

    customer_id: str
    currency: str
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Owed:
    """What a customer owed before a period, before the first entry of a page, and at the end of the period."""

    opening: int
    before_page: int
    closing: int


class Ledger(Protocol):
    """Invoices, charges and refunds of one tenant. Each change takes its entry, so no money moves without one."""

    async def now(self) -> datetime:
        """The time by the database's clock, also within a transaction that has waited for a lock."""
        ...

    async def invoice(self, invoice_id: str, *, for_update: bool = False) -> Invoice:
        """Read an invoice. With `for_update`, its row is locked until the transaction ends, and the ids of its charges
        may be left out. Raises NotFound."""
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

    async def credit_notes(self, invoice_id: str) -> list[CreditNote]:
        """List the credit notes of an invoice, oldest first."""
        ...

    async def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold a lock of the tenant by its name until the transaction ends. To be called before rows are locked.

        Holders of a `shared` one wait for none of each other.
        """
        ...

    async def refund_policy(self) -> RefundPolicy: ...

    async def set_refund_policy(self, policy: RefundPolicy) -> None:
        """Store a new version, under the lock of the policy."""
        ...

    async def used(self, subject: Subject, invoice_id: str, currency: str, since: datetime | None) -> Used:
        """Count the refunds of a line of the invoice, of a charge or of a customer that were made after `since`."""
        ...

    async def is_approval_used(self, approval_id: str) -> bool:
        """Return whether a refund was made with the approval."""
        ...

    async def add_invoice(self, invoice: Invoice, entry: Entry) -> None:
        """Store an invoice and its entry. Raises AlreadyExists."""
        ...

    async def add_charge(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        """Store a charge, its entry, and the invoice as the charge changes it."""
        ...

    async def add_chargeback(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        """Store the entry of a charge-back, and charge and invoice as it changes them."""
        ...

    async def add_refund(self, refund: Refund, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        """Store a refund, its entry, and charge and invoice as the refund changes them."""
        ...

    async def add_credit_note(self, note: CreditNote, invoice: Invoice, entry: Entry) -> None:
        """Store a credit note, its entry, and the invoice as it changes it."""
        ...

    async def balances(self) -> list[Balance]:
        """List the totals of each account and currency, ordered by account, then currency."""
        ...

    async def statement(self, period: Period, after: tuple[datetime, int] | None, limit: int) -> list[StatementEntry]:
        """List at most `limit` entries of the period behind `after` (time, id), oldest first."""
        ...

    async def owed(self, period: Period, after: tuple[datetime, int] | None) -> Owed:
        """Sum what the customer owed, around the period and before the page behind `after`."""
        ...


class MemoryLedger:
    """Ledger of one tenant in memory. Has no locks: `for_update` and `lock` change nothing."""

    def __init__(self) -> None:
        self._invoices: dict[str, Invoice] = {}
        self._charges: dict[str, Charge] = {}
        self._refunds: dict[str, Refund] = {}
        self._notes: list[CreditNote] = []
        self._entries: list[Entry] = []
        self._policy = DEFAULT_POLICY

    async def now(self) -> datetime:
        return datetime.now(UTC)

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

    async def credit_notes(self, invoice_id: str) -> list[CreditNote]:
        return [note for note in self._notes if note.invoice_id == invoice_id]

    async def lock(self, name: str, *, shared: bool = False) -> None:
        pass

    async def refund_policy(self) -> RefundPolicy:
        return self._policy

    async def set_refund_policy(self, policy: RefundPolicy) -> None:
        self._policy = policy

    async def used(self, subject: Subject, invoice_id: str, currency: str, since: datetime | None) -> Used:
        counted = [refund for refund in self._refunds.values() if since is None or refund.created > since]
        match subject.scope:
            case Scope.LINE:
                lines = [(one, part) for one in counted if one.invoice_id == invoice_id for part in one.lines]
                amounts = [part.amount for _, part in lines if part.line_id == subject.id]
                return Used(len(amounts), sum(amounts))
            case Scope.CHARGE:
                counted = [refund for refund in counted if refund.charge_id == subject.id]
            case Scope.CUSTOMER:
                counted = [refund for refund in counted if refund.customer_id == subject.id]
            case Scope.REFUND:
                counted = []
        return Used(len(counted), sum(one.amount.minor for one in counted if one.amount.currency == currency))

    async def is_approval_used(self, approval_id: str) -> bool:
        return any(refund.approval_id == approval_id for refund in self._refunds.values())

    async def add_invoice(self, invoice: Invoice, entry: Entry) -> None:
        if invoice.invoice_id in self._invoices:
            raise AlreadyExists(resource="invoice", id=invoice.invoice_id)
        self._invoices[invoice.invoice_id] = invoice
        self._entries.append(entry)

    async def add_charge(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        self._charges[charge.charge_id] = charge
        self._invoices[invoice.invoice_id] = invoice
        self._entries.append(entry)

    async def add_chargeback(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        await self.add_charge(charge, invoice, entry)

    async def add_refund(self, refund: Refund, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        self._refunds[refund.refund_id] = refund
        await self.add_charge(charge, invoice, entry)

    async def add_credit_note(self, note: CreditNote, invoice: Invoice, entry: Entry) -> None:
        self._notes.append(note)
        self._invoices[invoice.invoice_id] = invoice
        self._entries.append(entry)

    async def balances(self) -> list[Balance]:
        sides = [
            side
            for entry in self._entries
            for posting in entry.postings
            for side in (
                Balance(posting.debit, entry.amount.currency, posting.amount, 0),
                Balance(posting.credit, entry.amount.currency, 0, posting.amount),
            )
        ]
        sides.sort(key=_account_key)
        return [_sum(list(group)) for _, group in groupby(sides, key=_account_key)]

    async def statement(self, period: Period, after: tuple[datetime, int] | None, limit: int) -> list[StatementEntry]:
        found = [one for one in self._of(period) if period.start is None or one.entry.created >= period.start]
        return [one for one in found if after is None or _entry_key(one) > after][:limit]

    async def owed(self, period: Period, after: tuple[datetime, int] | None) -> Owed:
        entries = self._of(period)
        opening = _owed(one for one in entries if period.start is not None and one.entry.created < period.start)
        before = opening if after is None else _owed(one for one in entries if _entry_key(one) <= after)
        return Owed(opening, before, _owed(entries))

    def _of(self, period: Period) -> list[StatementEntry]:
        """The customer's entries before the end of the period, in order."""
        found = [
            StatementEntry(entry, number)
            for number, entry in enumerate(self._entries)
            if (entry.customer_id, entry.amount.currency) == (period.customer_id, period.currency)
            and (period.end is None or entry.created < period.end)
        ]
        return sorted(found, key=_entry_key)


def _owed(entries: Iterable[StatementEntry]) -> int:
    return sum(one.entry.kind.sign * one.entry.amount.minor for one in entries)


def _entry_key(entry: StatementEntry) -> tuple[datetime, int]:
    return (entry.entry.created, entry.entry_id)


def _invoice_key(invoice: Invoice) -> tuple[datetime, str]:
    return (invoice.issued, invoice.invoice_id)


def _account_key(balance: Balance) -> tuple[str, str]:
    return (balance.account, balance.currency)


def _sum(sides: list[Balance]) -> Balance:
    return replace(sides[0], debit=sum(side.debit for side in sides), credit=sum(side.credit for side in sides))
