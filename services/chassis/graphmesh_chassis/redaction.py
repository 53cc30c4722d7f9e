"""Replaces personal data and secrets in texts by placeholders, in linear time.

Found are payment cards (with the check digit of ISO/IEC 7812), IBANs (with that of ISO 13616), addresses of e-mail,
telephone numbers, secrets (tokens, keys, passwords, private keys), and names that are handed over. A number that has no
valid check digit is no card: ids, amounts and times stay readable.

A placeholder is `[card:3f2a]`: the kind, and 16 bits of a digest of the value. The same value has the same one wherever
it occurs, so that records can be compared; of a card number with that digest there are more than 10^9.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from graphmesh_chassis.folding import folded, origins
from graphmesh_chassis.name_trie import NameTrie
from graphmesh_chassis.redaction_numbers import iban_at, numbers_in
from graphmesh_chassis.redaction_patterns import SECRET_KEYS, TRIGGER, domain_end, is_secret_value, may_match


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
TOO_DEEP: Final = "[not shown]"
SMALLEST_CARD: Final = 10**12
MAX_NUMBER_BITS: Final = 128
LOCAL_PART: Final = 64
"""Characters of an address before the `@`."""
_PEM_END = "PRIVATE KEY-----"
_LOCAL = frozenset("!#$%&'*+/=?^_`{|}~.-")


@dataclass(frozen=True, slots=True)
class Found:
    """A value in a text."""

    kind: Kind
    start: int
    end: int
    value: str
    """Its characters as they are compared: without separators, in one case."""


Judged = tuple[tuple[Found, ...], int]


@dataclass(frozen=True)
class Redactor:
    """Replaces data of some kinds, and names."""

    kinds: frozenset[Kind] = ALL
    names: Iterable[str] = ()
    """Names and the like of the tenant's records, which occur as whole words, in any case."""
    _trie: NameTrie = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_trie", NameTrie(self.names))

    def redact(self, text: str) -> str:
        """Return a text with placeholders. A text that has been redacted is not changed."""
        parts, position = list[str](), 0
        for found in self.find(text):
            parts += text[position : found.start], placeholder(found.kind, found.value)
            position = found.end
        return "".join((*parts, text[position:])) if parts else text

    def redact_value(self, value: Any) -> Any:
        """Return a value of JSON whose texts are redacted. Keys stay; the text under a key such as `password` does not.

        A number that is a card's becomes a text.
        """
        return self._redacted(value, MAX_DEPTH)

    def find(self, text: str) -> Iterator[Found]:
        """Generate the values in a text in their order, without overlaps."""
        view = folded(text)
        if not self._trie and not may_match(view):
            return
        places, position = origins(text), 0
        for found in self._merged(view):
            if found.start >= position:
                position = found.end
                end = max(places[found.end], places[found.end - 1] + 1)
                yield Found(found.kind, places[found.start], end, found.value)

    def _merged(self, view: str) -> Iterable[Found]:
        scanned = (found for found in _scan(view) if found.kind in self.kinds)
        if not self._trie:
            return scanned
        names = (Found(Kind.NAME, *place) for place in self._trie.find(view))
        return sorted((*scanned, *names), key=lambda found: (found.start, -found.end))

    def _redacted(self, value: Any, levels: int) -> Any:
        match value:
            case str():
                return self.redact(value)
            case int() if value >= SMALLEST_CARD and value.bit_length() <= MAX_NUMBER_BITS:
                text = str(value)
                return value if (redacted := self.redact(text)) == text else redacted
            case Mapping() | list() | tuple() if not levels:
                return TOO_DEEP
            case Mapping():
                return {key: self._member(key, inner, levels - 1) for key, inner in value.items()}
            case list() | tuple():
                return [self._redacted(inner, levels - 1) for inner in value]
        return value

    def _member(self, key: object, value: Any, levels: int) -> Any:
        is_secret = isinstance(key, str) and key.lower().replace("-", "_") in SECRET_KEYS and Kind.SECRET in self.kinds
        if is_secret and isinstance(value, str) and value and not value.startswith(f"[{Kind.SECRET}:"):
            return placeholder(Kind.SECRET, value)
        return self._redacted(value, levels)


def placeholder(kind: Kind, value: str) -> str:
    digest = hashlib.sha256(f"{kind}/{value}".encode(errors="replace"))
    return f"[{kind}:{digest.hexdigest()[:4]}]"


def _scan(view: str) -> Iterator[Found]:
    """Generate the values in a folded text, in their order. Each match is judged once, and ends after it began."""
    position = floor = 0
    while match := TRIGGER.search(view, position):
        found, position = _JUDGES[str(match.lastgroup)](match, floor)
        yield from found
        floor = found[-1].end if found else floor


def _nothing(match: re.Match[str], _: int) -> Judged:
    return (), match.end()


def _whole(match: re.Match[str], _: int) -> Judged:
    """A secret that is the group of its kind."""
    start, end = match.span(str(match.lastgroup))
    value = match.string[start:end]
    is_key = match.lastgroup != "key" or any(character.isdecimal() for character in value)
    return ((Found(Kind.SECRET, start, end, value),) if is_key else ()), end


def _assigned(match: re.Match[str], _: int) -> Judged:
    start, end = match.span("assigned")
    if not is_secret_value(match):
        return (), start
    end -= len(match["assigned"]) - len(match["assigned"].rstrip(".!?*"))
    return ((Found(Kind.SECRET, start, end, match.string[start:end]),) if end > start else ()), match.end()


def _pem(match: re.Match[str], _: int) -> Judged:
    """A private key. One that has no end goes to the end of the text."""
    view, start = match.string, match.start()
    found = view.find(_PEM_END, match.end())
    end = found + len(_PEM_END) if found >= 0 else len(view)
    return (Found(Kind.SECRET, start, end, view[start:end]),), end


def _email(match: re.Match[str], floor: int) -> Judged:
    view, at = match.string, match.start()
    start = at
    while start > max(floor, at - LOCAL_PART) and (view[start - 1].isalnum() or view[start - 1] in _LOCAL):
        start -= 1
    while start < at and view[start] in "._%+-=/'*`":
        start += 1
    end = domain_end(view, at + 1)
    if end is None or start == at:
        return (), at + 1
    return (Found(Kind.EMAIL, start, end, view[start:end].casefold()),), end


def _iban(match: re.Match[str], _: int) -> Judged:
    start = match.start("iban")
    if (found := iban_at(match.string, start)) is None:
        return (), start + 2
    return (Found(Kind.IBAN, start, *found),), found[0]


def _number(match: re.Match[str], _: int) -> Judged:
    found = numbers_in(match.string, *match.span())
    return tuple(Found(Kind(kind), start, end, digits) for kind, start, end, digits in found), match.end()


_JUDGES: Mapping[str, Callable[[re.Match[str], int], Judged]] = {
    "placeholder": _nothing,
    "pem": _pem,
    "url": _whole,
    "jwt": _whole,
    "key": _whole,
    "bearer": _whole,
    "quoted": _whole,
    "assigned": _assigned,
    "iban": _iban,
    "at": _email,
    "number": _number,
}
"""What judges a match of `TRIGGER`, by the group that matched: the values there, and where to continue."""


DEFAULT: Final = Redactor()
"""Of logs: all kinds, and no names."""
