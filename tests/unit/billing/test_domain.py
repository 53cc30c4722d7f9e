"""The rules of billing hold for every sequence of charges, refunds, credit notes and charge-backs."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from graphmesh_billing import domain
from graphmesh_billing.domain import (
    Charge,
    CreditNote,
    Entry,
    Invoice,
    Line,
    LineRequest,
    Refund,
    RuleBroken,
    charge,
    issue,
)
from graphmesh_billing.line_amounts import refund_lines, requested_lines
from graphmesh_contracts.money import MAX_MINOR, Money
from hypothesis import example, given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
amounts = st.integers(1, 2_000)
rates = st.sampled_from([("", 0), ("VAT", 190_000), ("VAT", 70_000), ("odd", 333_333)])
lines = st.lists(
    st.builds(
        lambda quantity, price, rate: Line("ink", quantity, euros(price), tax_name=rate[0], tax_rate=rate[1]),
        st.integers(1, 9),
        st.integers(0, 500),
        rates,
    ),
    min_size=1,
    max_size=5,
).filter(lambda lines: any(line.price for line in lines))


def euros(minor: int) -> Money:
    return Money("EUR", minor)


def invoice(*prices: int, quantity: int = 1) -> Invoice:
    return issue("in_1", "cu_1", [Line("ink", quantity, euros(price)) for price in prices], NOW)[0]


class Books:
    """An invoice with its charges and entries."""

    def __init__(self, lines: list[Line], tax_included: bool = False) -> None:
        self.invoice, entry = issue("in_1", "cu_1", tuple(lines), NOW, tax_included=tax_included)
        self.entries: list[Entry] = [entry]
        self.charges: list[Charge] = []

    def charge(self, amount: int) -> None:
        self.invoice, created, entry = charge(self.invoice, f"ch_{len(self.charges)}", euros(amount), NOW)
        self.charges.append(created)
        self.entries.append(entry)

    def refund(self, number: int, amount: int, *requests: LineRequest) -> None:
        charge = self.charges[number]
        if amount > charge.refundable.minor:
            raise RuleBroken("refund_exceeds_charge", "")
        parts = refund_lines(self.invoice, requests, euros(amount), charge.refundable)
        made = Refund("re_1", charge.charge_id, euros(amount), "broken", NOW, "in_1", "cu_1", parts)
        self.charges[number], self.invoice, entry = domain.refund(charge, self.invoice, made)
        self.entries.append(entry)

    def charge_back(self, number: int, amount: int) -> None:
        charge = self.charges[number]
        self.invoice, self.charges[number], entry = domain.charge_back(self.invoice, charge, "cb", euros(amount), NOW)
        self.entries.append(entry)

    def credit(self, *requests: LineRequest) -> None:
        parts = requested_lines(self.invoice, requests)
        total = euros(sum(part.amount for part in parts))
        self.invoice, entry = domain.credit(self.invoice, CreditNote("cn_1", "in_1", total, "late", NOW, parts))
        self.entries.append(entry)

    @property
    def balances(self) -> Counter[str]:
        """Debits minus credits of each account."""
        sums: Counter[str] = Counter()
        for posting in (posting for entry in self.entries for posting in entry.postings):
            sums[posting.debit] += posting.amount
            sums[posting.credit] -= posting.amount
        return sums

    def check(self) -> None:
        """The accounts sum to zero, and agree with the invoice, its lines and its charges."""
        balances = self.balances
        assert sum(balances.values()) == 0
        assert balances["receivable"] == self.invoice.outstanding.minor >= 0
        assert balances["cash"] == sum(created.refundable.minor for created in self.charges) >= 0
        refunded, credited = self.invoice.refunded.minor, self.invoice.credited.minor
        assert sum(created.refunded.minor for created in self.charges) == refunded
        total = self.invoice.total.minor
        given_back = balances["refunds"] + balances["credits"]
        assert -balances["revenue"] - given_back - balances["tax"] == total - refunded - credited
        for entry in self.entries:
            assert sum(posting.amount for posting in entry.postings) == entry.amount.minor
        owed = sum(entry.kind.sign * entry.amount.minor for entry in self.entries)
        assert owed == self.invoice.outstanding.minor
        for line in self.invoice.lines:
            assert 0 <= line.refunded + line.credited <= line.amount
            assert 0 <= line.returned <= line.quantity
            assert 0 <= line.tax_of(line.left) <= line.tax
        assert all(0 <= created.refundable.minor <= created.amount.minor for created in self.charges)


Move = tuple[str, int, str, int, int | None]
moves: st.SearchStrategy[Move] = st.tuples(
    st.sampled_from(["charge", "refund", "lines", "back", "credit"]),
    st.integers(0, 4),
    st.integers(1, 5).map(str),
    st.integers(0, 3),
    st.none() | amounts,
)


@given(lines, st.booleans(), st.lists(moves, max_size=30))
def test_books_always_balance(lines: list[Line], tax_included: bool, moves: list[Move]) -> None:
    """After every operation, be it made or refused."""
    books = Books(lines, tax_included)
    for move, number, line_id, quantity, amount in moves:
        request = LineRequest(line_id, quantity, None if amount is None else euros(amount))
        try:
            if move == "charge" or number >= len(books.charges):
                books.charge(amount or 100)
            elif move == "refund":
                books.refund(number, amount or books.charges[number].refundable.minor or 1)
            elif move == "lines":
                [part] = requested_lines(books.invoice, [request])
                books.refund(number, part.amount or 1, request)
            elif move == "back":
                books.charge_back(number, amount or 1)
            else:
                books.credit(request)
        except RuleBroken:
            pass
        books.check()


@given(lines, st.booleans())
def test_taxes_add_up(lines: list[Line], tax_included: bool) -> None:
    """Lines, tax lines and the total agree; each rate is rounded once, by less than a minor unit."""
    issued = Books(lines, tax_included).invoice
    assert sum(line.amount for line in issued.lines) == issued.total.minor
    assert sum(tax.tax for tax in issued.tax_lines) == issued.tax.minor
    for tax in issued.tax_lines:
        exact = (tax.net + tax.tax) * tax.rate if tax_included else tax.net * tax.rate
        divisor = 1_000_000 + tax.rate if tax_included else 1_000_000
        assert abs(2 * (tax.tax * divisor - exact)) <= divisor
    if tax_included:
        assert issued.total.minor == sum(line.price for line in lines)
    else:
        assert issued.total.minor == sum(line.price for line in lines) + issued.tax.minor


@given(lines)
def test_refunds_of_all_items_are_the_line(lines: list[Line]) -> None:
    """Items that are refunded one by one add up to amount and tax of their line, and another one is refused."""
    books = Books(lines)
    books.charge(books.invoice.total.minor)
    for line in books.invoice.lines:
        for _ in range(line.quantity):
            [part] = requested_lines(books.invoice, [LineRequest(line.line_id, 1)])
            if part.amount:
                books.refund(0, part.amount, LineRequest(line.line_id, 1))
        if line.amount >= line.quantity:
            with pytest.raises(RuleBroken) as broken:
                requested_lines(books.invoice, [LineRequest(line.line_id, 1)])
            assert broken.value.rule == "quantity_exceeds_line"
    assert books.invoice.refunded == books.invoice.total
    assert books.balances["tax"] == 0


@example(10, 10)
@example(10, 11)
@given(st.integers(1, 1000), st.integers(1, 1000))
def test_refuses_a_charge_above_the_outstanding_amount(total: int, amount: int) -> None:
    """A charge up to the outstanding amount succeeds, a larger one is refused."""
    if amount <= total:
        updated, created, _ = charge(invoice(total), "ch_1", euros(amount), NOW)
        assert (updated.outstanding, updated.charge_ids, created.amount) == (
            euros(total - amount),
            ("ch_1",),
            euros(amount),
        )
        assert updated.paid is (amount == total)
    else:
        with pytest.raises(RuleBroken) as broken:
            charge(invoice(total), "ch_1", euros(amount), NOW)
        assert broken.value.rule == "charge_exceeds_outstanding"


def test_refunds_do_not_reopen_an_invoice_and_charge_backs_do() -> None:
    books = Books([Line("ink", 1, euros(10))])
    books.charge(10)
    books.refund(0, 4)
    assert books.invoice.paid
    books.charge_back(0, 6)
    assert books.invoice.outstanding == euros(6)
    with pytest.raises(RuleBroken) as broken:
        books.charge_back(0, 1)
    assert broken.value.rule == "chargeback_exceeds_charge"


@pytest.mark.parametrize(
    ("requests", "rule"),
    [
        ([LineRequest("9", 1)], "unknown_line"),
        ([LineRequest("1", 3)], "quantity_exceeds_line"),
        ([LineRequest("1", 1, euros(11))], "amount_exceeds_items"),
        ([LineRequest("1", 0, euros(21))], "amount_exceeds_line"),
        ([LineRequest("1", 0, Money("USD", 1))], "currency_mismatch"),
        ([LineRequest("1", 1)], "lines_differ_from_amount"),
        ([LineRequest("1")], "lines_differ_from_amount"),
        ([], "lines_required"),
    ],
)
def test_names_the_broken_rule_of_lines(requests: list[LineRequest], rule: str) -> None:
    two_lines = invoice(10, 5, quantity=2)
    with pytest.raises(RuleBroken) as broken:
        refund_lines(two_lines, requests, euros(9), euros(30))
    assert broken.value.rule == rule


def test_refund_without_lines_is_of_all_that_is_left() -> None:
    """It may name no lines where it is clear without."""
    two_lines = invoice(10, 5, quantity=2)
    parts = refund_lines(two_lines, [], euros(30), euros(30))
    assert [(part.line_id, part.quantity, part.amount) for part in parts] == [("1", 2, 20), ("2", 2, 10)]
    partly = refund_lines(two_lines, [], euros(10), euros(10))
    assert [(part.line_id, part.quantity, part.amount) for part in partly] == [("1", 0, 7), ("2", 0, 3)]
    assert [(part.quantity, part.amount) for part in refund_lines(invoice(10), [], euros(4), euros(10))] == [(0, 4)]


def test_a_line_alone_is_all_that_is_left_of_it() -> None:
    books = Books([Line("ink", 3, euros(10)), Line("pen", 1, euros(30))])
    books.charge(60)
    books.refund(0, 10, LineRequest("1", 1))
    books.refund(0, 20, LineRequest("1"))
    assert (books.invoice.lines[0].returned, books.invoice.lines[0].left) == (3, 0)
    with pytest.raises(RuleBroken) as broken:
        books.refund(0, 20, LineRequest("1"))
    assert broken.value.rule == "nothing_left"


def test_a_credited_line_is_not_refunded() -> None:
    books = Books([Line("ink", 1, euros(10)), Line("pen", 1, euros(30))])
    books.charge(25)
    books.credit(LineRequest("1", 1))
    with pytest.raises(RuleBroken) as broken:
        books.refund(0, 10, LineRequest("1", 1))
    assert broken.value.rule == "quantity_exceeds_line"
    with pytest.raises(RuleBroken) as broken:
        books.credit(LineRequest("2", 1))
    assert broken.value.rule == "credit_exceeds_outstanding"
    books.refund(0, 25, LineRequest("2", 0, euros(25)))


@pytest.mark.parametrize("other", [Money("USD", 1), Money("JPY", 1)])
def test_refuses_mixed_currencies(other: Money) -> None:
    """An invoice and its charges have one currency."""
    with pytest.raises(RuleBroken, match=other.currency):
        issue("in_1", "cu_1", (Line("ink", 1, euros(1)), Line("pen", 1, other)), NOW)
    with pytest.raises(RuleBroken, match=other.currency):
        charge(invoice(10), "ch_1", other, NOW)


@pytest.mark.parametrize("currency", ["XXX", "XAU", "ABC"])
def test_refuses_currencies_without_a_minor_unit(currency: str) -> None:
    with pytest.raises(RuleBroken) as broken:
        issue("in_1", "cu_1", (Line("ink", 1, Money(currency, 1)),), NOW)
    assert broken.value.rule == "unknown_currency"


def test_refuses_a_line_id_that_is_another_lines_number() -> None:
    with pytest.raises(RuleBroken) as broken:
        issue("in_1", "cu_1", (Line("ink", 1, euros(1)), Line("pen", 1, euros(1), "1")), NOW)
    assert broken.value.rule == "line_ids"


@pytest.mark.parametrize(("quantity", "price"), [(1, 0), (2, MAX_MINOR), (1_000_000, MAX_MINOR)])
def test_refuses_totals_out_of_range(quantity: int, price: int) -> None:
    """A total of zero is refused, and one that could overflow 64 bits."""
    with pytest.raises(RuleBroken) as broken:
        issue("in_1", "cu_1", (Line("ink", quantity, euros(price)),), NOW)
    assert broken.value.rule == "invoice_total"
