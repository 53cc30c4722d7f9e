"""Amounts in messages, in the notations of several languages."""

import pytest
from support.amounts import amounts_in


@pytest.mark.parametrize(
    ("message", "minor"),
    [
        ("refund the 18.90 EUR", [18_90]),
        ("18,90 €", [18_90]),
        ("€18.90", [18_90]),
        ("EUR 18,9 bitte", [18_90]),
        ("1.200,00 €", [1_200_00]),
        ("1,200.00 euros", [1_200_00]),
        ("1 200,00 €", [1_200_00]),
        ("1'200.00 EUR", [1_200_00]),
        ("zwróćcie 18,90", [18_90]),
        ("١٨٫٩٠", []),
        ("١٨.٩٠ EUR", [18_90]),
        ("$18.90", [None]),
        ("on 05.11.2026 and 12/11", []),
        ("INV-2038 and 2 bottles of 50 ml", []),
        ("41.30 EUR, of which 18.90 EUR", [41_30, 18_90]),
    ],
)
def test_amounts(message: str, minor: list[int | None]) -> None:
    assert [amount.minor("EUR") for amount in amounts_in(message)] == minor
