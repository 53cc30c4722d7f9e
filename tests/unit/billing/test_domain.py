"""The rules of billing hold for every sequence of charges and refunds."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from graphmesh_billing.domain import MAX_MINOR, Charge, Invoice, Line, Money, Posting, RuleBroken, charge, issue, refund
from hypothesis import example, given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
amounts = st.integers(1, 2_000)
lines = st.lists(
    st.builds(Line, st.just("ink"), st.integers(1, 9), st.builds(Money, st.just("EUR"), st.integers(1, 500))),
    min_size=1,
    max_size=5,
)


def euros(minor: int) -> Money:
    return Money("EUR", minor)


def invoice(total: int) -> Invoice:
    return issue("in_1", "cu_1", (Line("ink", 1, euros(total)),), NOW)[0]


class Books:
    """An invoice with its charges and postings."""

    def __init__(self, lines: list[Line]) -> None:
        self.invoice, posting = issue("in_1", "cu_1", tuple(lines), NOW)
        self.postings: list[Posting] = [posting]
        self.charges: list[Charge] = []

    def charge(self, amount: int) -> None:
        self.invoice, created, posting = charge(self.invoice, f"ch_{len(self.charges)}", euros(amount), NOW)
        self.charges.append(created)
        self.postings.append(posting)

    def refund(self, number: int, amount: int) -> None:
        self.charges[number], _, posting = refund(self.charges[number], "re_1", euros(amount), "broken", NOW)
        self.postings.append(posting)

    @property
    def balances(self) -> Counter[str]:
        """Debits minus credits of each account."""
        sums: Counter[str] = Counter()
        for posting in self.postings:
            sums[posting.debit] += posting.amount.minor
            sums[posting.credit] -= posting.amount.minor
        return sums


@given(lines, st.lists(st.tuples(st.booleans(), st.integers(0, 5), amounts), max_size=30))
def test_books_always_balance(lines: list[Line], moves: list[tuple[bool, int, int]]) -> None:
    """The accounts sum to zero, agree with the invoice and its charges, and never become negative."""
    books = Books(lines)
    for is_refund, number, amount in moves:
        try:
            if is_refund and number < len(books.charges):
                books.refund(number, amount)
            else:
                books.charge(amount)
        except RuleBroken:
            continue
    balances = books.balances
    assert sum(balances.values()) == 0
    assert balances["receivable"] == books.invoice.outstanding.minor >= 0
    assert balances["cash"] == sum(created.refundable.minor for created in books.charges) >= 0
    assert balances["refunds"] == sum(created.refunded.minor for created in books.charges)
    assert -balances["revenue"] == books.invoice.total.minor
    assert all(0 <= created.refunded.minor <= created.amount.minor for created in books.charges)


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


@example(10, [4, 6, 1])
@given(st.integers(1, 1000), st.lists(st.integers(1, 400), max_size=10))
def test_refunds_never_exceed_their_charge(taken: int, refunds: list[int]) -> None:
    """Partial refunds succeed up to the amount of the charge."""
    _, created, _ = charge(invoice(taken), "ch_1", euros(taken), NOW)
    refunded = 0
    for amount in refunds:
        if refunded + amount <= taken:
            created, _, _ = refund(created, "re_1", euros(amount), "broken", NOW)
            refunded += amount
        else:
            with pytest.raises(RuleBroken) as broken:
                refund(created, "re_1", euros(amount), "broken", NOW)
            assert broken.value.rule == "refund_exceeds_charge"
    assert created.refundable == euros(taken - refunded)


def test_refunds_do_not_reopen_an_invoice() -> None:
    books = Books([Line("ink", 1, euros(10))])
    books.charge(10)
    books.refund(0, 10)
    assert books.invoice.paid


@pytest.mark.parametrize("other", [Money("USD", 1), Money("JPY", 1)])
def test_refuses_mixed_currencies(other: Money) -> None:
    """An invoice, its charges and their refunds have one currency."""
    with pytest.raises(RuleBroken, match=other.currency):
        issue("in_1", "cu_1", (Line("ink", 1, euros(1)), Line("pen", 1, other)), NOW)
    with pytest.raises(RuleBroken, match=other.currency):
        charge(invoice(10), "ch_1", other, NOW)
    _, created, _ = charge(invoice(10), "ch_1", euros(10), NOW)
    with pytest.raises(RuleBroken, match=other.currency):
        refund(created, "re_1", other, "broken", NOW)


@pytest.mark.parametrize(("quantity", "price"), [(1, 0), (2, MAX_MINOR), (1_000_000, MAX_MINOR)])
def test_refuses_totals_out_of_range(quantity: int, price: int) -> None:
    """A total of zero is refused, and one that could overflow 64 bits."""
    with pytest.raises(RuleBroken) as broken:
        issue("in_1", "cu_1", (Line("ink", quantity, euros(price)),), NOW)
    assert broken.value.rule == "invoice_total"
