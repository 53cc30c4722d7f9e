"""Compares what texts state, as far as it is exact: numbers, dates, ids, links, addresses, and negations."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from graphmesh_nodes.guardrails.lexicon import data_file
from graphmesh_nodes.guardrails.words import SEPARATORS, words

MIN_SAME_WORDS = 0.75
"""Share of a sentence's words that another one has to contain to state the same, or its contrary."""

_FACT = re.compile(
    r"[^\s@<>]{1,64}@[^\s@<>]{1,255}|(?:https?://|www\.)\S{1,2000}|[^\W\d_]{1,20}[-_]?\d[\w-]{0,60}|\d[\d.,:/-]{0,40}"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})")


def facts(text: str) -> set[str]:
    """Return the numbers, dates, ids, links and addresses of a text; `18,90`, `18.9` and `1,200.00` as one number."""
    plain = "".join(map(_plain_digit, text))
    found = {fact for match in _FACT.findall(plain) for fact in _normalised(match.rstrip(".,:;/-!?)").casefold())}
    return found | {_number_words()[word] for word in words(text) if word in _number_words()}


def _plain_digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else unicodedata.normalize("NFKC", char)


def _normalised(fact: str) -> Iterator[str]:
    """Yield the bounds of a range such as `3-5`, a number in one form, and anything else as it is."""
    if bounds := _RANGE.fullmatch(fact):
        yield from bounds.groups()
    elif _NUMBER.fullmatch(fact):
        yield _number(fact)
    else:
        yield fact


def _number(text: str) -> str:
    """One or two digits after the last separator are a fraction, three are not."""
    whole, separator, rest = text.replace(",", ".").rpartition(".")
    fraction = rest.rstrip("0") if separator and len(rest) < 3 else ""
    integer = whole if separator and len(rest) < 3 else whole + rest
    return integer.replace(".", "") + (f".{fraction}" if fraction else "")


def contradicts(sentences: Sequence[str], others: Sequence[str]) -> bool:
    """Report whether a sentence denies what those of the other ones that are most similar to it state, or the reverse.

    Similar sentences share `MIN_SAME_WORDS` of the sentence's words; one of them that agrees is enough.
    """
    compared = [(content_words(other), _denies(other)) for other in others]
    return any(_contradicts(content_words(sentence), _denies(sentence), compared) for sentence in sentences)


def _contradicts(wanted: frozenset[str], denies: bool, others: Sequence[tuple[frozenset[str], bool]]) -> bool:
    if not wanted:
        return False
    shares = [len(wanted & other) / len(wanted) for other, _ in others]
    best = max(shares, default=0.0)
    closest = [other for (_, other), share in zip(others, shares, strict=True) if share == best]
    return best >= MIN_SAME_WORDS and denies not in closest


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text, without punctuation and negations."""
    return frozenset(words(text)) - SEPARATORS - _negations()


def _denies(text: str) -> bool:
    return not _negations().isdisjoint(words(text))


@cache
def _negations() -> frozenset[str]:
    return frozenset(word for negation in data_file("statements")["negations"] for word in words(negation))


@cache
def _number_words() -> Mapping[str, str]:
    numbers = data_file("statements")["numbers"].items()
    return {spelled: number for number, listed in numbers for word in listed for spelled in words(word)}
