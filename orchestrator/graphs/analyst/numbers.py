"""Checks every number of a text against rows: it has to be one of them, or computed from them in a stated way."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import combinations

from graphmesh_nodes.guardrails.words import words

from analyst.vocabulary import vocabulary

Rows = Sequence[Sequence[object]]
MAX_PAIRED_ROWS = 100
"""Rows between which differences, ratios and shares may be stated."""
_NUMBER = re.compile(r"(?<![\w.,])[+\-−]?\d+(?:[.,'’\u00a0\u202f]\d+)*(?![\w]*\d)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_GROUPED = re.compile(r"\d{1,3}(?:[.,'’\u00a0\u202f]\d{3})+(?:[.,]\d+)?")


def unsupported(text: str, rows: Rows, given: str = "") -> list[str]:
    """Return the numbers of a text that are neither in the rows, nor computed from them, nor in the text `given`.

    Computed are: rounded values, sums, means, minima and maxima of a column, shares and percentages of a sum,
    differences, ratios and changes in percent between two rows, and the number of rows.
    """
    known = [*_supported(rows), *(value for token in _NUMBER.findall(given) for value in _readings(token))]
    texts = " ".join(str(cell) for row in rows for cell in row if isinstance(cell, str))
    named = set(_NUMBER.findall(texts)) | set(re.findall(r"\d+", texts))
    return [token for token in _NUMBER.findall(text) if token not in named and not _is_supported(token, known)]


def unchecked(text: str, rows: Rows) -> list[str]:
    """Return the numbers of a text that are not written in digits alone, and are no texts of the rows."""
    lists = vocabulary()
    named = {word for row in rows for cell in row if isinstance(cell, str) for word in words(cell)}
    found = [char for char in text if unicodedata.category(char) in ("No", "Nl")]
    plain = words(text)
    for before, word in zip(["", *plain], plain, strict=False):
        is_mixed = any(char.isdigit() for char in word) and not word.isdigit()
        is_roman = len(word) > 1 and set(word) <= set("ivxlcdm") and word.upper() in text
        is_scale = before.isdigit() and word in lists.scales
        is_number = word in lists.number_words or any(part in word for part in lists.number_parts)
        if word not in named and (is_mixed or is_roman or is_scale or is_number):
            found.append(word)
    return found


def misattributed(text: str, rows: Rows) -> list[str]:
    """Return the labels that a sentence names without the value of their row, or its share."""
    total = sum((_value(row) for row in rows), Decimal(0))
    found = []
    for sentence in _SENTENCE.split(text):
        tokens = _NUMBER.findall(sentence)
        for row in rows:
            label, value = str(row[0]), _value(row)
            own = [value, *([value / total * 100] if total else [])]
            if len(row) > 1 and _names(sentence, label) and not any(_is_supported(one, own) for one in tokens):
                found.append(label)
    return found


def _names(sentence: str, label: str) -> bool:
    plain = " ".join(words(label))
    return bool(plain) and f" {plain} " in f" {' '.join(words(sentence))} "


def _value(row: Sequence[object]) -> Decimal:
    last = row[-1] if row else None
    return Decimal(str(last)) if isinstance(last, int | float) and not isinstance(last, bool) else Decimal(0)


def _is_supported(token: str, known: Sequence[Decimal]) -> bool:
    """Return whether a number is a known one, rounded to the digits that it has."""
    is_negative = token[0] in "-−"
    for value in _readings(token):
        digits = value.as_tuple().exponent
        step = Decimal(1).scaleb(digits if isinstance(digits, int) else 0)
        if any(abs((-one if is_negative else abs(one)) - value) * 2 <= step for one in known):
            return True
    return False


def _readings(token: str) -> Iterator[Decimal]:
    """Yield the values that a number may have: `1.234` is a thousand or one, by the language."""
    plain = token.lstrip("+-−")
    if _GROUPED.fullmatch(plain):
        head, separator, tail = max(plain.rpartition("."), plain.rpartition(","), key=lambda parts: len(parts[0]))
        has_fraction = bool(separator) and (
            len(tail) != 3 or (separator not in head and len(set(re.findall(r"\D", plain))) > 1)
        )
        whole = re.sub(r"\D", "", head if has_fraction else plain)
        yield from _decimal(f"{whole}.{tail}" if has_fraction else whole)
    yield from _decimal(plain.replace(",", "."))


def _decimal(text: str) -> Iterator[Decimal]:
    try:
        yield Decimal(text)
    except InvalidOperation:
        return


def _supported(rows: Rows) -> Iterator[Decimal]:
    yield Decimal(len(rows))
    for column in zip(*rows, strict=True):
        values = [Decimal(str(one)) for one in column if isinstance(one, int | float) and not isinstance(one, bool)]
        yield from values
        if values:
            yield from _computed(values[:MAX_PAIRED_ROWS], sum(values, Decimal(0)), len(values))


def _computed(values: Sequence[Decimal], total: Decimal, count: int) -> Iterator[Decimal]:
    yield total
    yield total / count
    if total:
        yield from (value / total * factor for value in values for factor in (1, 100))
    for one, other in combinations(values, 2):
        yield from (one - other, other - one)
        yield from _ratios(one, other)


def _ratios(one: Decimal, other: Decimal) -> Iterable[Decimal]:
    for above, below in ((one, other), (other, one)):
        if below:
            yield above / below
            yield (above / below - 1) * 100
