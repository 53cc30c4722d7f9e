"""Rules of billing that no policy changes. Amounts are in minor units of one currency."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from graphmesh_contracts.money import EXPONENTS, MAX_MINOR, CurrencyMismatch, Money, allocate, share

MILLION = 1_000_000
"""Rates of taxes are parts of it."""


class RuleBroken(ValueError):
    """A request breaks a rule of billing; `rule` is the rule's stable name, `subject` what it is about."""

    def __init__(self, rule: str, message: str, subject: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.subject = subject


@dataclass(frozen=True)
class Line:
    """A line of an invoice. `issue` sets the fields from `amount` on."""

    description: str
    quantity: int
    unit_price: Money
    line_id: str = ""
    tax_name: str = ""
    tax_rate: int = 0
    """Parts per million."""
    amount: int = 0
    """With its tax."""
    tax: int = 0
    refunded: int = 0
    credited: int = 0
    returned: int = 0
    """The number of items that were refunded or credited."""

    @property
    def price(self) -> int:
        """The price of all items, with or without tax."""
        return self.quantity * self.unit_price.minor

    @property
    def left(self) -> int:
        """The amount that is neither refunded nor credited."""
        return self.amount - self.refunded - self.credited

    def price_of(self, quantity: int) -> int:
        """The amount of the next `quantity` items. All items of the line together have exactly its amount."""
        before, after = self.returned, self.returned + quantity
        return self.amount * after // self.quantity - self.amount * before // self.quantity

    def tax_of(self, amount: int) -> int:
        """The tax in the next `amount`. All parts of the line together have exactly its tax."""
        if not self.amount:
            return 0
        before = self.refunded + self.credited
        return share(self.tax, before + amount, self.amount) - share(self.tax, before, self.amount)


@dataclass(frozen=True)
class TaxLine:
    """The tax of all lines of an invoice that have its name and rate."""

    name: str
    rate: int
    net: int
    tax: int


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

    @property
    def credited(self) -> Money:
        return replace(self.total, minor=sum(line.credited for line in self.lines))

    @property
    def refunded(self) -> Money:
        return replace(self.total, minor=sum(line.refunded for line in self.lines))

    @property
    def tax(self) -> Money:
        return replace(self.total, minor=sum(line.tax for line in self.lines))

    @property
    def tax_lines(self) -> tuple[TaxLine, ...]:
        """One for each name and rate, in the order of the lines; lines without a tax are left out."""
        rates = dict.fromkeys((line.tax_name, line.tax_rate) for line in self.lines if line.tax_name or line.tax_rate)
        return tuple(self._tax_line(name, rate) for name, rate in rates)

    def _tax_line(self, name: str, rate: int) -> TaxLine:
        lines = [line for line in self.lines if (line.tax_name, line.tax_rate) == (name, rate)]
        return TaxLine(name, rate, sum(line.amount - line.tax for line in lines), sum(line.tax for line in lines))


@dataclass(frozen=True)
class Charge:
    charge_id: str
    invoice_id: str
    amount: Money
    refunded: Money
    created: datetime
    charged_back: Money

    @property
    def refundable(self) -> Money:
        return self.amount - self.refunded - self.charged_back


@dataclass(frozen=True)
class LineRequest:
    """What is to be refunded or credited of a line; without quantity and amount, all that is left of it."""

    line_id: str
    quantity: int = 0
    amount: Money | None = None


@dataclass(frozen=True)
class LineAmount:
    """What is refunded or credited of a line."""

    line_id: str
    quantity: int
    amount: int
    tax: int


@dataclass(frozen=True)
class Refund:
    refund_id: str
    charge_id: str
    amount: Money
    cause: str
    created: datetime
    invoice_id: str
    customer_id: str
    lines: tuple[LineAmount, ...]
    policy_version: int = 0
    approval_id: str = ""
    policy_exception: str = ""


@dataclass(frozen=True)
class CreditNote:
    credit_note_id: str
    invoice_id: str
    amount: Money
    cause: str
    created: datetime
    lines: tuple[LineAmount, ...]


class Kind(StrEnum):
    """A kind of entry in the journal, and so in a customer's statement."""

    INVOICE = "invoice"
    CHARGE = "charge"
    CREDIT_NOTE = "credit_note"
    REFUND = "refund"
    CHARGEBACK = "chargeback"

    @property
    def sign(self) -> int:
        """The change of what the customer owes: the amount times 1, -1 or 0."""
        return {"invoice": 1, "chargeback": 1, "refund": 0}.get(self, -1)


@dataclass(frozen=True)
class Posting:
    """A double entry in the ledger: one amount, debited to one account and credited to another."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True)
class Entry:
    """An event in the journal, with its postings: no money moves without one."""

    kind: Kind
    reference: str
    """Id of the invoice, charge, credit note, refund or charge-back."""
    invoice_id: str
    customer_id: str
    amount: Money
    created: datetime
    postings: tuple[Posting, ...]


@dataclass(frozen=True)
class Balance:
    """Totals of one account in one currency, in minor units."""

    account: str
    currency: str
    debit: int
    credit: int


def issue(
    invoice_id: str, customer_id: str, lines: Sequence[Line], issued: datetime, *, tax_included: bool = False
) -> tuple[Invoice, Entry]:
    """Make an invoice, and the entry of its total as receivable.

    Raises:
        RuleBroken: the lines have several currencies or an unknown one, or their total is zero or above `MAX_MINOR`.
    """
    currency = lines[0].unit_price.currency
    if currency not in EXPONENTS:
        raise RuleBroken("unknown_currency", f"{currency} is no currency with a minor unit of ISO 4217")
    for line in lines:
        require_currency(line.unit_price, currency)
    taxed = _with_taxes(_with_ids(lines), tax_included)
    total = Money(currency, sum(line.amount for line in taxed))
    if not 0 < total.minor <= MAX_MINOR:
        raise RuleBroken("invoice_total", f"the total has to be between 1 and {MAX_MINOR}, it is {total.minor}")
    invoice = Invoice(invoice_id, customer_id, taxed, total, total, issued)
    postings = _split("receivable", "receivable", total.minor, invoice.tax.minor, credit="revenue", tax_credit="tax")
    return invoice, Entry(Kind.INVOICE, invoice_id, invoice_id, customer_id, total, issued, postings)


def _with_ids(lines: Sequence[Line]) -> list[Line]:
    """Number the lines without an id.

    Raises:
        RuleBroken: the number of one is the id of another line.
    """
    named = [line if line.line_id else replace(line, line_id=str(number)) for number, line in enumerate(lines, 1)]
    if len({line.line_id for line in named}) < len(named):
        raise RuleBroken("line_ids", "the id of a line is the number of another line, which has no id")
    return named


def _with_taxes(lines: Sequence[Line], tax_included: bool) -> tuple[Line, ...]:
    """Set amount and tax of the lines: the tax of a rate is rounded once, and shared by its lines."""
    done: dict[str, Line] = {}
    for rate in dict.fromkeys((line.tax_name, line.tax_rate) for line in lines):
        group = [line for line in lines if (line.tax_name, line.tax_rate) == rate]
        prices = [line.price for line in group]
        tax = share(sum(prices), rate[1], MILLION + rate[1] if tax_included else MILLION)
        for line, price, part in zip(group, prices, allocate(tax, prices), strict=True):
            done[line.line_id] = replace(line, amount=price if tax_included else price + part, tax=part)
    return tuple(done[line.line_id] for line in lines)


def charge(invoice: Invoice, charge_id: str, amount: Money, now: datetime) -> tuple[Invoice, Charge, Entry]:
    """Charge an invoice: the amount moves from receivable to cash. Returns the updated invoice first.

    Raises:
        RuleBroken: the amount exceeds the outstanding amount, or is in another currency.
    """
    require_currency(amount, invoice.total.currency)
    outstanding = invoice.outstanding - amount
    if outstanding.minor < 0:
        message = f"invoice {invoice.invoice_id} owes {invoice.outstanding}, the charge is over {amount}"
        raise RuleBroken("charge_exceeds_outstanding", message)
    updated = replace(invoice, outstanding=outstanding, charge_ids=(*invoice.charge_ids, charge_id))
    nothing = Money(amount.currency, 0)
    created = Charge(charge_id, invoice.invoice_id, amount, nothing, now, nothing)
    postings = (Posting("cash", "receivable", amount.minor),)
    return updated, created, _entry(Kind.CHARGE, charge_id, invoice, amount, now, postings)


def charge_back(
    invoice: Invoice, charge: Charge, chargeback_id: str, amount: Money, now: datetime
) -> tuple[Invoice, Charge, Entry]:
    """Take an amount of a charge back: it moves from cash to receivable. Returns the updated invoice first.

    Raises:
        RuleBroken: the amount exceeds what is left of the charge, or is in another currency.
    """
    require_currency(amount, charge.amount.currency)
    if amount.minor > charge.refundable.minor:
        message = f"{charge.refundable} is left of charge {charge.charge_id}, the charge-back is over {amount}"
        raise RuleBroken("chargeback_exceeds_charge", message)
    updated = replace(invoice, outstanding=invoice.outstanding + amount)
    postings = (Posting("receivable", "cash", amount.minor),)
    entry = _entry(Kind.CHARGEBACK, chargeback_id, invoice, amount, now, postings)
    return updated, replace(charge, charged_back=charge.charged_back + amount), entry


def refund(charge: Charge, invoice: Invoice, made: Refund) -> tuple[Charge, Invoice, Entry]:
    """Refund lines that `line_amounts` has checked. Returns the updated charge and invoice first."""
    lines = {line.line_id: line for line in made.lines}
    updated = [
        replace(line, refunded=line.refunded + part.amount, returned=line.returned + part.quantity)
        if (part := lines.get(line.line_id))
        else line
        for line in invoice.lines
    ]
    tax = sum(line.tax for line in made.lines)
    postings = _split("refunds", "tax", made.amount.minor, tax, credit="cash", tax_credit="cash")
    entry = _entry(Kind.REFUND, made.refund_id, invoice, made.amount, made.created, postings)
    return replace(charge, refunded=charge.refunded + made.amount), replace(invoice, lines=tuple(updated)), entry


def credit(invoice: Invoice, note: CreditNote) -> tuple[Invoice, Entry]:
    """Credit lines that `line_amounts` has checked: the customer owes that much less.

    Raises:
        RuleBroken: the amount is zero, or exceeds the outstanding amount.
    """
    if not note.amount.minor:
        raise RuleBroken("credit_total", "the lines add up to nothing")
    if note.amount.minor > invoice.outstanding.minor:
        message = f"invoice {invoice.invoice_id} owes {invoice.outstanding}, the credit note is over {note.amount}"
        raise RuleBroken("credit_exceeds_outstanding", message)
    lines = {line.line_id: line for line in note.lines}
    updated = [
        replace(line, credited=line.credited + part.amount, returned=line.returned + part.quantity)
        if (part := lines.get(line.line_id))
        else line
        for line in invoice.lines
    ]
    tax = sum(line.tax for line in note.lines)
    postings = _split("credits", "tax", note.amount.minor, tax, credit="receivable", tax_credit="receivable")
    entry = _entry(Kind.CREDIT_NOTE, note.credit_note_id, invoice, note.amount, note.created, postings)
    return replace(invoice, lines=tuple(updated), outstanding=invoice.outstanding - note.amount), entry


def _entry(
    kind: Kind, reference: str, invoice: Invoice, amount: Money, now: datetime, postings: tuple[Posting, ...]
) -> Entry:
    return Entry(kind, reference, invoice.invoice_id, invoice.customer_id, amount, now, postings)


def _split(debit: str, tax_debit: str, total: int, tax: int, *, credit: str, tax_credit: str) -> tuple[Posting, ...]:
    """The postings of a total without its tax, and of the tax; those over nothing are left out."""
    both = (Posting(debit, credit, total - tax), Posting(tax_debit, tax_credit, tax))
    return tuple(posting for posting in both if posting.amount)


def require_currency(amount: Money, currency: str) -> None:
    """Raises RuleBroken where the amount is in another currency."""
    if amount.currency != currency:
        raise RuleBroken("currency_mismatch", str(CurrencyMismatch(amount.currency, currency)))
