"""Amounts of money: ISO 4217 currencies with their minor units, exact arithmetic, allocation, and text.

Amounts are integers in minor units, and shares are rounded once. There is no float in here, nor a division of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from types import MappingProxyType

_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
        CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK
        HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR
        MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
        SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
        YER ZAR ZMW ZWG ZWL
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
"""Currencies and funds of ISO 4217 by the number of decimal places of their minor unit. Some that were withdrawn since
2020 are kept for older documents; metals and codes without a minor unit are not in here."""

EXPONENTS: Mapping[str, int] = MappingProxyType(
    {currency: exponent for exponent, codes in _BY_EXPONENT.items() for currency in codes.split()}
)
"""The number of decimal places of each currency's minor unit."""


MAX_MINOR = 10**15
"""The largest amount; equals the bound of `Money` in the contracts."""


class UnknownCurrency(ValueError):
    """ISO 4217 has no minor unit for this code; `currency` is the code."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"{currency!r} is not a currency with a minor unit of ISO 4217")
        self.currency = currency


class CurrencyMismatch(ValueError):
    """Two amounts are in different currencies."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the amount is in {found}, not in {expected}")


@dataclass(frozen=True, order=True)
class Money:
    """An amount in minor units. Arithmetic raises CurrencyMismatch for amounts of two currencies."""

    currency: str
    minor: int

    def __add__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor + self._of_same_currency(other).minor)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.currency, self.minor - self._of_same_currency(other).minor)

    def _of_same_currency(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatch(other.currency, self.currency)
        return other

    def __str__(self) -> str:
        return format_money(self.currency, self.minor)


def exponent(currency: str) -> int:
    """Return the number of decimal places of the currency's minor unit.

    Raises:
        UnknownCurrency: the currency has none.
    """
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def to_decimal(currency: str, minor: int) -> Decimal:
    """Return an amount in the currency's main unit: 18.90 for 1890 EUR. Raises UnknownCurrency."""
    return Decimal(minor).scaleb(-exponent(currency))


def format_money(currency: str, minor: int) -> str:
    """Return an amount as text that is the same everywhere: `18.90 EUR`, `58 JPY`, `-1.50 EUR`.

    An amount in an unknown currency is returned in minor units, and says so: it is better shown than not.
    """
    if currency not in EXPONENTS:
        return f"{minor} minor units of {currency}"
    return f"{to_decimal(currency, minor):f} {currency}"


def parse_amount(text: str, currency: str) -> int | None:
    """Return the minor units of a decimal number such as `18.90`.

    None where it is no number, has more decimal places than the currency, or is larger than `Money` of the contracts
    can be.

    Raises:
        UnknownCurrency: the currency has no minor unit.
    """
    places = exponent(currency)
    try:
        number = Decimal(text)
        scaled = number.scaleb(places)
    except DecimalException:
        return None
    if not scaled.is_finite() or abs(scaled) > MAX_MINOR or scaled != scaled.to_integral_value():
        return None
    if number and not scaled:  # an underflow
        return None
    return int(scaled)


def share(total: int, part: int, whole: int) -> int:
    """Return `total * part / whole`, rounded half up; none of them may be negative."""
    return (2 * total * part + whole) // (2 * whole)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to `weights`, by largest remainders: the parts add up to it exactly.

    Each part differs by less than 1 from its exact share. Of equal remainders the first gets more. Neither may be
    negative; where all weights are 0, `total` has to be 0.
    """
    whole = sum(weights)
    if not whole:
        if total:
            raise ValueError("there is nothing to allocate to")
        return [0 for _ in weights]
    parts = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -remainders[index])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts
