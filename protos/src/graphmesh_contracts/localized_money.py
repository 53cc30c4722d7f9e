"""Amounts of money as people of a language or a country write them. Needs Babel, by the extra `locale`.

For people only: everything else shows an amount by `format_money`, which is the same everywhere and can be read back.
"""

from collections.abc import Callable
from copy import copy

from babel import Locale, UnknownLocaleError

from graphmesh_contracts.money import exponent, format_money, to_decimal


class UnknownLocale(ValueError):
    """The CLDR has no such locale."""

    def __init__(self, locale: str) -> None:
        super().__init__(f"{locale!r} is not a known locale, such as de or en-GB")


def formatter(currency: str, locale: str) -> Callable[[int], str]:
    """Return a function that shows amounts in minor units: 1890 EUR is `18,90 €` in `de`.

    The decimal places are those of ISO 4217: the CLDR, as Babel has it, leaves them out for some currencies. An empty
    `locale` shows amounts as `format_money` does.

    Raises:
        UnknownCurrency: the currency has no minor unit.
        UnknownLocale: there is no such locale.
    """
    places = exponent(currency)
    if not locale:
        return lambda minor: format_money(currency, minor)
    try:
        found = Locale.parse(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        raise UnknownLocale(locale) from None
    pattern = copy(found.currency_formats["standard"])
    pattern.frac_prec = (places, places)

    def shown(minor: int) -> str:
        return str(pattern.apply(to_decimal(currency, minor), found, currency=currency, currency_digits=False))

    return shown
