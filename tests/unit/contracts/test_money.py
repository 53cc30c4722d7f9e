"""Money is exact: minor units of ISO 4217, text, and allocation. No float is anywhere near it."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from graphmesh_contracts.money import (
    EXPONENTS,
    MAX_MINOR,
    CurrencyMismatch,
    Money,
    UnknownCurrency,
    allocate,
    exponent,
    format_money,
    parse_amount,
    share,
)
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
BILLING = ROOT / "services/billing/graphmesh_billing"
MONEY_MODULES = sorted(
    {
        ROOT / "protos/src/graphmesh_contracts/money.py",
        *BILLING.glob("**/*.py"),
        *(ROOT / f"orchestrator/graphs/support/{name}.py" for name in ("amounts", "claims", "summary")),
    }
    - {BILLING / "__main__.py"}
)
amounts = st.integers(-MAX_MINOR, MAX_MINOR)
weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(any)


@pytest.mark.parametrize(
    ("currency", "minor", "text"),
    [
        ("EUR", 1890, "18.90 EUR"),
        ("EUR", 0, "0.00 EUR"),
        ("EUR", -150, "-1.50 EUR"),
        ("EUR", -5, "-0.05 EUR"),
        ("JPY", 5800, "5800 JPY"),
        ("JPY", -1, "-1 JPY"),
        ("KWD", 1250, "1.250 KWD"),
        ("CLF", 12345, "1.2345 CLF"),
        ("USD", MAX_MINOR, "10000000000000.00 USD"),
        ("XAU", 5, "5 minor units of XAU"),
    ],
)
def test_text_has_the_decimal_places_of_the_currency(currency: str, minor: int, text: str) -> None:
    assert format_money(currency, minor) == str(Money(currency, minor)) == text


def test_currencies_are_those_of_iso_4217() -> None:
    assert {exponent(code) for code in ("JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XOF", "PYG")} == {0}
    assert {exponent(code) for code in ("KWD", "BHD", "OMR", "JOD", "TND", "IQD", "LYD")} == {3}
    assert {exponent(code) for code in ("CLF", "UYW")} == {4}
    assert {exponent(code) for code in ("EUR", "USD", "HUF", "IDR", "LAK", "AFN", "MGA", "MRU")} == {2}
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    for code in ("XXX", "XTS", "XAU", "ABC", "eur", ""):
        with pytest.raises(UnknownCurrency):
            exponent(code)


@given(st.sampled_from(sorted(EXPONENTS)), amounts)
def test_text_is_parsed_to_the_same_amount(currency: str, minor: int) -> None:
    number, _, code = format_money(currency, minor).partition(" ")
    assert (parse_amount(number, currency), code) == (minor, currency)


@pytest.mark.parametrize("text", ["0.001", "1e999999999", "1e-999999999", "nan", "inf", "", "1,5", "9" * 5000])
def test_what_is_no_amount_is_not_parsed(text: str) -> None:
    assert parse_amount(text, "EUR") is None


@given(st.integers(0, MAX_MINOR), weights)
def test_allocation_adds_up_and_is_fair(total: int, weights: list[int]) -> None:
    """Each part differs by less than one minor unit from its exact share, and larger weights get no less."""
    parts = allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)
        assert part == 0 or weight > 0
    ordered = sorted(zip(weights, parts, strict=True))
    assert all(less[1] <= more[1] for less, more in pairwise(ordered) if less[0] < more[0])


def test_allocation_to_nothing() -> None:
    assert allocate(0, [0, 0]) == [0, 0]
    with pytest.raises(ValueError):
        allocate(1, [0, 0])


@pytest.mark.parametrize(("args", "rounded"), [((1, 1, 2), 1), ((1, 1, 3), 0), ((2, 1, 3), 1), ((0, 5, 7), 0)])
def test_shares_are_rounded_half_up(args: tuple[int, int, int], rounded: int) -> None:
    assert share(*args) == rounded


def test_arithmetic_needs_one_currency() -> None:
    assert Money("EUR", 5) + Money("EUR", 1) - Money("EUR", 7) == Money("EUR", -1)
    with pytest.raises(CurrencyMismatch, match="in USD, not in EUR"):
        Money("EUR", 1) + Money("USD", 1)
    with pytest.raises(CurrencyMismatch):
        Money("EUR", 1) - Money("JPY", 1)


@pytest.mark.parametrize("module", MONEY_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_float_is_used_for_money(module: Path) -> None:
    """Neither a literal, nor the type, nor a division that would make one, nor a rounding of one."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                raise AssertionError(f"a division in line {node.lineno}")
            case ast.Constant(value=float(value)):
                raise AssertionError(f"{value} in line {node.lineno}")
            case ast.Name(id="float" | "round") | ast.Attribute(attr="Float" | "Numeric" | "fsum"):
                raise AssertionError(f"a float in line {node.lineno}")
