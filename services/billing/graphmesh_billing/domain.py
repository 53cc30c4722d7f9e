"""Rules of billing. Standard library only; amounts are in minor units of one currency."""

from dataclasses import dataclass, replace
from datetime import datetime

MAX_MINOR = 10**15
"""Largest amount of an invoice, a charge or a refund; equals the bound of `Money` in the contract."""


class RuleBroken(ValueError):
    """A request breaks a rule of billing; `rule` is the rule's stable name."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, order=True)
class Money:
    """An amount in minor units. Arithmetic raises RuleBroken for amounts of two currencies."""

    currency: str
    minor: int

    def __add__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor + self._of_same_currency(other).minor)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor - self._of_same_currency(other).minor)

    def _of_same_currency(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise RuleBroken("currency_mismatch", f"the amount is in {other.currency}, not in {self.currency}")
        return other

    def __str__(self) -> str:
        return f"{self.minor} {self.currency} (minor units)"


@dataclass(frozen=True)
class Line:
    description: str
    quantity: int
    unit_price: Money


@dataclass(frozen=True)
class Invoice:
    invoice_id: str
    customer_id: str
    lines: tuple[Line, ...]
    total: Money
    outstanding: Money
    issued: datetime
    charge_ids: tuple[str, ...] = ()

    @property
    def paid(self) -> bool:
        return self.outstanding.minor == 0


@dataclass(frozen=True)
class Charge:
    charge_id: str
    invoice_id: str
    amount: Money
    refunded: Money
    created: datetime

    @property
    def refundable(self) -> Money:
        return self.amount - self.refunded


@dataclass(frozen=True)
class Refund:
    refund_id: str
    charge_id: str
    amount: Money
    cause: str
    created: datetime


@dataclass(frozen=True)
class Posting:
    """A double entry in the ledger: one amount, debited to one account and credited to another."""

    debit: str
    credit: str
    amount: Money
    reference: str
    """Id of the invoice, charge or refund that caused the posting."""
    created: datetime


@dataclass(frozen=True)
class Balance:
    """Totals of one account in one currency, in minor units."""

    account: str
    currency: str
    debit: int
    credit: int


def issue(invoice_id: str, customer_id: str, lines: tuple[Line, ...], issued: datetime) -> tuple[Invoice, Posting]:
    """Make an invoice, and the posting of its total as receivable.

    Raises:
        RuleBroken: the lines have several currencies, or their total is zero or above `MAX_MINOR`.
    """
    total = Money(lines[0].unit_price.currency, 0)
    for line in lines:
        total += Money(line.unit_price.currency, line.quantity * line.unit_price.minor)
    if not 0 < total.minor <= MAX_MINOR:
        raise RuleBroken("invoice_total", f"the total has to be between 1 and {MAX_MINOR}, it is {total.minor}")
    invoice = Invoice(invoice_id, customer_id, lines, total, total, issued)
    return invoice, Posting("receivable", "revenue", total, invoice_id, issued)


def charge(invoice: Invoice, charge_id: str, amount: Money, now: datetime) -> tuple[Invoice, Charge, Posting]:
    """Charge an invoice: the amount moves from receivable to cash. Returns the updated invoice first.

    Raises:
        RuleBroken: the amount exceeds the outstanding amount, or is in another currency.
    """
    outstanding = invoice.outstanding - amount
    if outstanding.minor < 0:
        message = f"invoice {invoice.invoice_id} owes {invoice.outstanding}, the charge is over {amount}"
        raise RuleBroken("charge_exceeds_outstanding", message)
    updated = replace(invoice, outstanding=outstanding, charge_ids=(*invoice.charge_ids, charge_id))
    created = Charge(charge_id, invoice.invoice_id, amount, Money(amount.currency, 0), now)
    return updated, created, Posting("cash", "receivable", amount, charge_id, now)


def refund(charge: Charge, refund_id: str, amount: Money, cause: str, now: datetime) -> tuple[Charge, Refund, Posting]:
    """Refund a charge, wholly or in part. Returns the updated charge first.

    Raises:
        RuleBroken: the amount exceeds the refundable amount, or is in another currency.
    """
    if (charge.refundable - amount).minor < 0:
        message = f"{charge.refundable} is left of charge {charge.charge_id}, the refund is over {amount}"
        raise RuleBroken("refund_exceeds_charge", message)
    updated = replace(charge, refunded=charge.refunded + amount)
    created = Refund(refund_id, charge.charge_id, amount, cause, now)
    return updated, created, Posting("refunds", "cash", amount, refund_id, now)
