"""Replaces personal data and secrets in texts by placeholders, in linear time.

Found are payment cards (with the check digit of ISO/IEC 7812), IBANs (with that of ISO 13616), addresses of e-mail,
telephone numbers, secrets (tokens, keys, passwords, private keys), and names that are handed over. A number that has no
valid check digit is no card: ids, amounts and times stay readable.

A placeholder is `[card:3f2a]`: the kind, and 16 bits of a digest of the value. The same value has the same one wherever
it occurs, so that records can be compared; of a card number with that digest there are more than 10^9.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Kind(StrEnum):
    """The kinds of data that are replaced."""

    CARD = "card"
    IBAN = "iban"
    EMAIL = "email"
    PHONE = "phone"
    SECRET = "secret"
    NAME = "name"


ALL: Final = frozenset(Kind)
CREDENTIALS: Final = frozenset({Kind.CARD, Kind.IBAN, Kind.SECRET})
"""What no state, prompt or ticket needs, even where a customer has written it."""
MAX_DEPTH: Final = 32
"""Levels of a value that are redacted; what is deeper is replaced whole."""

_HINT = re.compile(
    r"[@+]|\d[\d\W]{8}|[A-Z]{2}\d\d|eyJ|://|(?i:bearer|passw|passphrase|secret|token|key|credential)|sk-|gh[a-z]_|xox|AKIA"
)
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]{1,40}-----[A-Za-z0-9+/=\s]{1,20000}-----END [A-Z ]{1,40}-----"
    r"|\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{4,8000}(?:\.[A-Za-z0-9_-]{0,2000})?"
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}|\bgh[pousr]_[A-Za-z0-9]{20,255}|\bxox[abprs]-[A-Za-z0-9-]{10,200}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}"
    r"|(?<=://)[^\s/:@]{0,100}:[^\s/@]{1,200}(?=@)"
    r"|(?i:\bbearer[ ]{1,3})[A-Za-z0-9._~+/=-]{12,4000}"
)
_LABELLED = re.compile(
    r"(?i:\b(?:password|passwort|passwd|passphrase|mot de passe|contraseña|secret|api[_-]?key|access[_-]?token"
    r"|client[_-]?secret))"
    r"[\"']?[ ]{0,3}(?:[:=]|is|ist|est|es)[ ]{0,3}[\"']?([^\s\"',;]{6,200})"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9](?:[\w-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}[ ./-]?(?:\(0?\)[ ]?)?(?:[(]?\d[)]?[ ./-]?){6,14}\d"
    r"|0\d{1,5}[ /-](?:\d[ /-]?){4,12}\d|\(\d{2,5}\)[ ]?(?:\d[ -]?){4,10}\d)(?![\w-])"
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    kind: Kind
    value: str


@dataclass(frozen=True)
class Redactor:
    """Replaces data of some kinds, and names."""

    kinds: frozenset[Kind] = ALL
    names: Iterable[str] = ()
    """Names and the like of the tenant's records, which occur as whole words, in any case."""
    _phrases: dict[str, list[tuple[str, ...]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        phrases: dict[str, list[tuple[str, ...]]] = {}
        for name in self.names:
            words = tuple(word.casefold() for word in _WORD.findall(name))
            if words and len("".join(words)) > 1:
                phrases.setdefault(words[0], []).append(words)
        object.__setattr__(
            self, "_phrases", {first: sorted(found, key=len, reverse=True) for first, found in phrases.items()}
        )

    def redact(self, text: str) -> str:
        """Return a text with placeholders. A text that has been redacted is not changed."""
        if not self._phrases and text.isascii() and not _HINT.search(text):
            return text
        folded, positions = _folded(text)
        found = sorted(self._found(folded), key=lambda one: (one.start, -one.end))
        parts, at = list[str](), 0
        for one in found:
            start, end = positions[one.start], positions[one.end - 1] + 1
            if start >= at:
                parts += [text[at:start], placeholder(one.kind, one.value)]
                at = end
        return "".join([*parts, text[at:]]) if parts else text

    def redact_value(self, value: Any, depth: int = 0) -> Any:
        """Return a value of JSON whose texts are redacted. Keys stay."""
        match value:
            case str():
                return self.redact(value)
            case Mapping() | list() | tuple() if depth >= MAX_DEPTH:
                return "[not shown]"
            case Mapping():
                return {key: self.redact_value(inner, depth + 1) for key, inner in value.items()}
            case list() | tuple():
                return [self.redact_value(inner, depth + 1) for inner in value]
        return value

    def _found(self, text: str) -> Iterator[_Found]:
        for kind, pattern, is_valid in PATTERNS:
            if kind in self.kinds:
                for match in pattern.finditer(text):
                    group = match.lastindex or 0
                    if is_valid(match.group(group)):
                        yield _Found(match.start(group), match.end(group), kind, match.group(group))
        if self._phrases:
            yield from self._names(text)

    def _names(self, text: str) -> Iterator[_Found]:
        words = [(match.group().casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]
        at = 0
        while at < len(words):
            size = self._name_at(words, at)
            if size:
                start, end = words[at][1], words[at + size - 1][2]
                yield _Found(start, end, Kind.NAME, text[start:end].casefold())
            at += size or 1

    def _name_at(self, words: list[tuple[str, int, int]], at: int) -> int:
        """Return the number of words of the longest name that begins here; 0 for none."""
        for phrase in self._phrases.get(words[at][0], ()):
            if tuple(word for word, _, _ in words[at : at + len(phrase)]) == phrase:
                return len(phrase)
        return 0


def placeholder(kind: Kind, value: str) -> str:
    plain = "".join(char for char in value if char.isalnum() or char in "@.") if kind is not Kind.SECRET else value
    return f"[{kind}:{hashlib.sha256(f'{kind}/{plain}'.encode()).hexdigest()[:4]}]"


def is_card(text: str) -> bool:
    """Return whether digits are a card number: 13 to 19, of a known network, with the check digit of Luhn's formula."""
    digits = [int(char) for char in text if char.isdecimal()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Return whether a text is an IBAN: the number made of it is 1 modulo 97."""
    plain = text.replace(" ", "").replace("-", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    return 8 <= sum(char.isdecimal() for char in text) <= 15 and not is_card(text)


def _always(_: str) -> bool:
    return True


PATTERNS: Final = (
    (Kind.SECRET, _SECRET, _always),
    (Kind.SECRET, _LABELLED, _always),
    (Kind.IBAN, _IBAN, is_iban),
    (Kind.CARD, _CARD, is_card),
    (Kind.EMAIL, _EMAIL, _always),
    (Kind.PHONE, _PHONE, _is_phone),
)
"""The kinds with their patterns; of two at one place the longer one holds."""


def _folded(text: str) -> tuple[str, list[int]]:
    """Return a text in compatibility form, without invisible characters, and the place of each of its characters."""
    if text.isascii():
        return text, list(range(len(text)))
    folded, positions = list[str](), list[int]()
    for position, char in enumerate(text):
        plain = char if char.isascii() else _plain(char)
        folded.append(plain)
        positions += [position] * len(plain)
    return "".join(folded), positions


def _plain(char: str) -> str:
    if unicodedata.category(char) in ("Cf", "Mn"):
        return ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = unicodedata.normalize("NFKC", char)
    return " " if plain.isspace() else "-" if unicodedata.category(char) == "Pd" else plain


DEFAULT: Final = Redactor()
"""Of logs: all kinds, and no names."""
