"""Amounts as people of a locale write them."""

import pytest
from graphmesh_contracts.localized_money import UnknownLocale, formatter
from graphmesh_contracts.money import EXPONENTS, MAX_MINOR, UnknownCurrency

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("currency", "locale", "minor", "text"),
    [
        ("EUR", "", -150, "-1.50 EUR"),
        ("EUR", "de", 1890, f"18,90{SPACE}€"),
        ("EUR", "en-GB", -5, "-€0.05"),
        ("EUR", "en-IN", MAX_MINOR, "€1,00,00,00,00,00,000.00"),
        ("JPY", "ja", 5800, "￥5,800"),
        ("ISK", "is", 5800, f"5.800{SPACE}kr."),
        ("IQD", "en", 1250, "IQD1.250"),
        ("CLF", "es_CL", 12345, "CLF1,2345"),
        ("USD", "zh-Hant-TW", 0, "US$0.00"),
    ],
)
def test_shows_an_amount(currency: str, locale: str, minor: int, text: str) -> None:
    assert formatter(currency, locale)(minor) == text


def test_decimal_places_are_those_of_iso_4217() -> None:
    """The CLDR has none for some currencies that have them."""
    for currency, places in EXPONENTS.items():
        digits = formatter(currency, "en")(10**places + 1)
        assert digits.endswith(f".{1:0{places}d}" if places else "2"), (currency, digits)


@pytest.mark.parametrize("locale", ["klingon", "de_DE_EURO_X", "..", "de de", "\N{SNOWMAN}", "x" * 1000])
def test_unknown_locales_are_named(locale: str) -> None:
    with pytest.raises(UnknownLocale, match="is not a known locale"):
        formatter("EUR", locale)


def test_unknown_currencies_are_refused() -> None:
    with pytest.raises(UnknownCurrency):
        formatter("XAU", "de")
