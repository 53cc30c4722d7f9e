"""The rules of billing hold whatever is charged and refunded (F3)."""

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
    """An invoice with everything that is posted for it."""

    def __init__(self, lines: list[Line]) -> None:
        self.invoice, posting = issue("in_1", "cu_1", tuple(lines), NOW)
        self.postings: list[Posting] = [posting]
        self.charges: list[Charge] = []

    def charge(self, amount: int) -> None:
        self.invoice, made, posting = charge(self.invoice, f"ch_{len(self.charges)}", euros(amount), NOW)
        self.charges.append(made)
        self.postings.append(posting)

    def refund(self, number: int, amount: int) -> None:
        self.charges[number], _, posting = refund(self.charges[number], "re_1", euros(amount), "broken", NOW)
        self.postings.append(posting)

    @property
    def balances(self) -> Counter[str]:
        """Debits less credits of every account."""
        sums: Counter[str] = Counter()
        for posting in self.postings:
            sums[posting.debit] += posting.amount.minor
            sums[posting.credit] -= posting.amount.minor
        return sums


@given(lines, st.lists(st.tuples(st.booleans(), st.integers(0, 5), amounts), max_size=30))
def test_the_books_balance_whatever_happens(lines: list[Line], moves: list[tuple[bool, int, int]]) -> None:
    """Accounts add up to nothing; what is owed, taken and given back is what the postings say, and never below zero."""
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
    assert balances["cash"] == sum(made.refundable.minor for made in books.charges) >= 0
    assert balances["refunds"] == sum(made.refunded.minor for made in books.charges)
    assert -balances["revenue"] == books.invoice.total.minor
    assert all(0 <= made.refunded.minor <= made.amount.minor for made in books.charges)


@example(10, 10)
@example(10, 11)
@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_charge_is_never_more_than_is_owed(total: int, amount: int) -> None:
    """Up to what is owed it goes through, above it does not."""
    if amount <= total:
        after, made, _ = charge(invoice(total), "ch_1", euros(amount), NOW)
        assert (after.outstanding, after.charge_ids, made.amount) == (euros(total - amount), ("ch_1",), euros(amount))
        assert after.paid is (amount == total)
    else:
        with pytest.raises(RuleBroken) as broken:
            charge(invoice(total), "ch_1", euros(amount), NOW)
        assert broken.value.rule == "charge_exceeds_outstanding"


@example(10, [4, 6, 1])
@given(st.integers(1, 1000), st.lists(st.integers(1, 400), max_size=10))
def test_refunds_never_exceed_their_charge(taken: int, refunds: list[int]) -> None:
    """As many parts as fit, to the last cent, and not one more."""
    _, made, _ = charge(invoice(taken), "ch_1", euros(taken), NOW)
    given_back = 0
    for amount in refunds:
        if given_back + amount <= taken:
            made, _, _ = refund(made, "re_1", euros(amount), "broken", NOW)
            given_back += amount
        else:
            with pytest.raises(RuleBroken) as broken:
                refund(made, "re_1", euros(amount), "broken", NOW)
            assert broken.value.rule == "refund_exceeds_charge"
    assert made.refundable == euros(taken - given_back)


def test_refunds_do_not_open_an_invoice_again() -> None:
    """What was given back is not owed again."""
    books = Books([Line("ink", 1, euros(10))])
    books.charge(10)
    books.refund(0, 10)
    assert books.invoice.paid


@pytest.mark.parametrize("other", [Money("USD", 1), Money("JPY", 1)])
def test_currencies_do_not_mix(other: Money) -> None:
    """There is no exchange rate here: not within an invoice, nor in a charge or refund."""
    with pytest.raises(RuleBroken, match=other.currency):
        issue("in_1", "cu_1", (Line("ink", 1, euros(1)), Line("pen", 1, other)), NOW)
    with pytest.raises(RuleBroken, match=other.currency):
        charge(invoice(10), "ch_1", other, NOW)
    _, made, _ = charge(invoice(10), "ch_1", euros(10), NOW)
    with pytest.raises(RuleBroken, match=other.currency):
        refund(made, "re_1", other, "broken", NOW)


@pytest.mark.parametrize(("quantity", "price"), [(1, 0), (2, MAX_MINOR), (1_000_000, MAX_MINOR)])
def test_a_total_is_positive_and_bounded(quantity: int, price: int) -> None:
    """Nothing to pay is no invoice; a sum that could leave 64 bits is refused."""
    with pytest.raises(RuleBroken) as broken:
        issue("in_1", "cu_1", (Line("ink", quantity, euros(price)),), NOW)
    assert broken.value.rule == "invoice_total"
