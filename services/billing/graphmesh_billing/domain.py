"""The rules of billing. Standard library only; amounts are minor units of one currency."""

from dataclasses import dataclass, replace
from datetime import datetime

MAX_MINOR = 10**15
"""The largest amount of anything; the contract's bound on `Money`."""


class RuleBroken(ValueError):
    """A rule of billing forbids it."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, order=True)
class Money:
    currency: str
    minor: int

    def __add__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor + self._same(other).minor)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor - self._same(other).minor)

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise RuleBroken("currency_mismatch", f"the amount is in {other.currency}, not in {self.currency}")
        return other

    def __str__(self) -> str:
        return f"{self.minor} {self.currency} (minor units)"


@dataclass(frozen=True)
class Line:
    """One line of an invoice."""

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
    """One ledger entry: an amount that leaves one account for another, so that debit and credit are equal."""

    debit: str
    credit: str
    amount: Money
    reference: str
    """The id of the invoice, charge or refund that it is posted for."""
    created: datetime


@dataclass(frozen=True)
class Balance:
    """The sums of one account in one currency, in minor units."""

    account: str
    currency: str
    debit: int
    credit: int


def issue(invoice_id: str, customer_id: str, lines: tuple[Line, ...], issued: datetime) -> tuple[Invoice, Posting]:
    """A new invoice: its total becomes receivable.

    Raises:
        RuleBroken: the lines are of several currencies, or their total is zero or too large.
    """
    total = Money(lines[0].unit_price.currency, 0)
    for line in lines:
        total += Money(line.unit_price.currency, line.quantity * line.unit_price.minor)
    if not 0 < total.minor <= MAX_MINOR:
        raise RuleBroken("invoice_total", f"the total has to be between 1 and {MAX_MINOR}, it is {total.minor}")
    invoice = Invoice(invoice_id, customer_id, lines, total, total, issued)
    return invoice, Posting("receivable", "revenue", total, invoice_id, issued)


def charge(invoice: Invoice, charge_id: str, amount: Money, now: datetime) -> tuple[Invoice, Charge, Posting]:
    """Take money for an invoice: what was receivable becomes cash.

    Raises:
        RuleBroken: it is more than the invoice still owes, or another currency.
    """
    outstanding = invoice.outstanding - amount
    if outstanding.minor < 0:
        message = f"invoice {invoice.invoice_id} owes {invoice.outstanding}, the charge is over {amount}"
        raise RuleBroken("charge_exceeds_outstanding", message)
    after = replace(invoice, outstanding=outstanding, charge_ids=(*invoice.charge_ids, charge_id))
    made = Charge(charge_id, invoice.invoice_id, amount, Money(amount.currency, 0), now)
    return after, made, Posting("cash", "receivable", amount, charge_id, now)


def refund(charge: Charge, refund_id: str, amount: Money, cause: str, now: datetime) -> tuple[Charge, Refund, Posting]:
    """Give money of a charge back.

    Raises:
        RuleBroken: it is more than is left of the charge, or another currency.
    """
    if (charge.refundable - amount).minor < 0:
        message = f"{charge.refundable} is left of charge {charge.charge_id}, the refund is over {amount}"
        raise RuleBroken("refund_exceeds_charge", message)
    after = replace(charge, refunded=charge.refunded + amount)
    made = Refund(refund_id, charge.charge_id, amount, cause, now)
    return after, made, Posting("refunds", "cash", amount, refund_id, now)
