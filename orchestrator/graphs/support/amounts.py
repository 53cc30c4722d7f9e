"""Amounts of money in messages, in any usual notation: `18,90 €`, `EUR 18.90`, `1.200,00`, `1 200.00`."""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from graphmesh_contracts import EXPONENTS, exponent, parse_amount

_UNITS: Mapping[str, frozenset[str]] = {
    unit: frozenset(codes)
    for unit, codes in tomllib.loads(Path(__file__).with_name("currencies.toml").read_text(encoding="utf-8")).items()
}
_GROUPED = r"\d{1,3}(?:[.,' ]\d{3}){1,3}(?:[.,]\d{1,3})?"
_NUMBER = rf"(?<![\w.,/-])(?:{_GROUPED}|\d{{1,9}}(?:[.,]\d{{1,3}})?)(?![.,/-]?\d)"
_TOKEN = re.compile(rf"(?P<number>{_NUMBER})|(?P<unit>[^\W\d_]{{1,8}}|[€$£¥₽₴₺₩])")
_SPACES = re.compile("[\u00a0\u2007\u2009\u202f’]")


@dataclass(frozen=True)
class Amount:
    """A number that may be an amount of money."""

    number: str
    currencies: frozenset[str]
    """Those that its unit may stand for; empty for a number without a unit."""

    def minor(self, currency: str) -> int | None:
        """Return it in minor units; None where it is in another currency, or has too many decimal places.

        One or two digits after the last separator are a fraction, three only in a currency with three decimal places.
        """
        if self.currencies and currency not in self.currencies:
            return None
        whole, separator, rest = self.number.replace(",", ".").replace("'", ".").replace(" ", ".").rpartition(".")
        is_fraction = separator and (len(rest) < 3 or exponent(currency) == 3)
        return parse_amount(whole.replace(".", "") + ("." if is_fraction else "") + rest, currency)


def amounts_in(message: str) -> list[Amount]:
    """Return the numbers with a unit, and those with two decimal places that have none."""
    return list(_amounts(_digits(message)))


def _amounts(message: str) -> Iterator[Amount]:
    found = list(_TOKEN.finditer(message))
    for index, match in enumerate(found):
        if number := match["number"]:
            units = [_unit(message, found, index, step) for step in (1, -1)]
            known = next((unit for unit in units if unit), frozenset[str]())
            if known or number[-3:-2] in (".", ","):
                yield Amount(number, known)


def _unit(message: str, found: list[re.Match[str]], index: int, step: int) -> frozenset[str]:
    """Return the currencies of the unit that stands directly before or after a number."""
    if not 0 <= index + step < len(found):
        return frozenset()
    first, second = sorted((found[index], found[index + step]), key=lambda match: match.start())
    unit = found[index + step]["unit"]
    if not unit or message[first.end() : second.start()].strip(" ~:"):
        return frozenset()
    return _UNITS.get(unit.casefold()) or frozenset({unit.upper()} & EXPONENTS.keys())


def _digits(text: str) -> str:
    """Replace digits of other scripts and special spaces."""
    plain = "".join(str(unicodedata.decimal(char, char)) if not char.isascii() else char for char in text)
    return _SPACES.sub(lambda match: "'" if match[0] == "’" else " ", plain)
