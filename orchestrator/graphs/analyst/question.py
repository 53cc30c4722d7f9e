"""Reads a question: its operations, the names of the schema that it mentions, its numbers, periods and values."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from graphmesh_nodes.guardrails.lexicon import Lexicon
from graphmesh_nodes.guardrails.words import words

from analyst.schema import Column, Schema, singular, table_words

_T = TypeVar("_T")
MAX_CHARACTERS = 1_000
"""A longer text is no question."""
MAX_NAME_WORDS = 3
_TOKEN = re.compile(r"[^\s?!¿¡,;:()<>\[\]{}\"“”„«»]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
MEASURES = ("revenue", "spent", "quantity", "sold")
"""Nouns that name a measure and not a column."""
LENGTH = "length"
"""The noun of a duration, whatever its column is called."""
PERIODS = ("month", "year")


@dataclass(frozen=True)
class Mention:
    """A name of the schema, a measure or a period in the question."""

    start: int
    word: str
    tables: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    @property
    def is_measure(self) -> bool:
        return self.word in MEASURES

    @property
    def is_period(self) -> bool:
        return self.word in PERIODS and not self.tables and not self.columns


@dataclass
class Question:
    """The parts of a question. `unknown` are the words that are none."""

    tokens: Sequence[str]
    operations: dict[int, str] = field(default_factory=dict)
    """By the position of their first word."""
    mentions: list[Mention] = field(default_factory=list)
    numbers: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, int] = field(default_factory=dict)
    """Units of time, by position."""
    years: list[int] = field(default_factory=list)
    months: list[int] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    values: dict[str, list[tuple[Column, str]]] = field(default_factory=dict)
    """Where each unknown phrase is a value: the columns, and the value as it is stored."""
    unknown: list[str] = field(default_factory=list)

    def before(self, mention: Mention, reach: int = 6) -> str:
        """Return the nearest operation before a mention, with no other mention between; empty for none."""
        others = {other.start for other in self.mentions}
        for position in range(mention.start - 1, max(-1, mention.start - reach), -1):
            if position in self.operations:
                return self.operations[position]
            if position in others:
                return ""
        return ""

    @property
    def is_ranked(self) -> bool:
        """Whether groups or rows are put in an order: `most`, `top`."""
        return self.has("most", "least", "top", "bottom")

    def has(self, *operations: str) -> bool:
        return any(operation in self.operations.values() for operation in operations)


def read(text: str, schema: Schema) -> Question:
    """Read a question. Phrases that are in no list are `unknown` until they are found to be values."""
    tokens = _TOKEN.findall(text[: MAX_CHARACTERS + 1])
    folded = [" ".join(words(token)).replace(".", "").strip() for token in tokens]
    question = Question(tokens)
    taken = _take_names(question, folded, schema)
    for position, (end, operation) in _longest(_lists().operations, folded, taken).items():
        question.operations[position] = operation
        taken |= set(range(position, end))
    for position, (end, word) in _longest(_lists().ambiguous, folded, taken).items():
        question.ambiguous.append(word)
        taken |= set(range(position, end))
    _take_numbers(question, folded, taken)
    question.unknown = list(_phrases(question, folded, taken))
    if len(text) > MAX_CHARACTERS:
        question.unknown.append("…")
    return question


def _take_names(question: Question, folded: Sequence[str], schema: Schema) -> set[int]:
    """Find names of the schema, the longest first at each position."""
    taken: set[int] = set()
    operations = _longest(_lists().operations, folded, set())
    nouns = _longest(_lists().nouns, folded, set())
    position = 0
    while position < len(folded):
        found = _name_at(position, folded, nouns, schema)
        is_operation = position in operations and (
            found is None
            or operations[position][0] > found[1]
            or (operations[position][0] == found[1] and not _is_column_total(position, question, found[0]))
        )
        if found is None or is_operation:
            position = max(operations[position][0], position + 1) if is_operation else position + 1
            continue
        _add(question, found[0], {start: name for start, (_, name) in operations.items()})
        taken |= set(range(position, found[1]))
        position = found[1]
    return taken


def _add(question: Question, mention: Mention, operations: Mapping[int, str]) -> None:
    """Add a mention; a column right behind its table is one with it, `customer country`, unless rows are counted."""
    last = question.mentions[-1] if question.mentions else None
    own = tuple(column for column in mention.columns if last and column.table in last.tables)
    is_counted = last and "count" in (operations.get(at) for at in range(max(0, last.start - 3), last.start))
    if last and own and not is_counted and mention.start - last.start == len(last.word.split()):
        question.mentions[-1] = Mention(last.start, f"{last.word} {mention.word}", columns=own)
    else:
        question.mentions.append(mention)


def _is_column_total(position: int, question: Question, mention: Mention) -> bool:
    """Return whether a word that is an operation too, such as `total`, names a column of the table before it."""
    last = question.mentions[-1] if question.mentions else None
    return bool(
        last and last.tables and position - last.start <= 4 and any(c.table in last.tables for c in mention.columns)
    )


def _name_at(
    position: int, folded: Sequence[str], nouns: Mapping[int, tuple[int, str]], schema: Schema
) -> tuple[Mention, int] | None:
    """Return the longest name of the schema that begins at a position, and its end."""
    best: tuple[Mention, int] | None = None
    name: tuple[str, ...] = ()
    at = position
    for _ in range(MAX_NAME_WORDS):
        if at >= len(folded) or not folded[at]:
            break
        end, word = nouns.get(at, (at + 1, ""))
        name = (*name, *(word.split() if word else [singular(one) for one in folded[at].split()]))
        at = end
        tables = tuple(one for one in schema.tables if table_words(one) == name and one not in schema.views)
        columns = _columns_of(name, schema)
        ids = tuple(one for one in schema.columns if one.words == (*name, "id") and one.table not in schema.views)
        if tables or columns or (ids and not tables) or " ".join(name) in (*MEASURES, *PERIODS, LENGTH):
            own = columns or (() if tables else _entity_ids(ids, schema))
            best = (Mention(position, " ".join(name), tables, own), at)
    return best


def _columns_of(name: tuple[str, ...], schema: Schema) -> tuple[Column, ...]:
    """Return the columns of a name; for one word also numbers whose names end with it, such as `UnitPrice`."""
    columns = [column for column in schema.columns if not column.is_id and column.table not in schema.views]
    exact = tuple(column for column in columns if column.words == name)
    ending = tuple(column for column in columns if column.is_number and column.words[-1:] == name)
    return exact or ending


def _entity_ids(ids: tuple[Column, ...], schema: Schema) -> tuple[Column, ...]:
    """Return the ids of something that has no table of its own, such as orders of order lines."""
    keys = {(join.table, column) for join in schema.joins for column in join.columns}
    return tuple(column for column in ids if (column.table, column.name) not in keys)


def _take_numbers(question: Question, folded: Sequence[str], taken: set[int]) -> None:
    months = _longest(_lists().months, folded, taken)
    units = _longest(_lists().units, folded, taken)
    for position, word in enumerate(folded):
        if position in taken:
            continue
        token = question.tokens[position].rstrip(".")
        if _YEAR.fullmatch(token) and not question.has("more", "less"):
            question.years.append(int(token))
        elif _NUMBER.fullmatch(token):
            question.numbers[position] = float(token.replace(",", "."))
        elif position in months:
            question.months.append(months[position][1])
        elif position in units:
            question.seconds[position] = units[position][1]
        elif word and word not in _lists().stop:
            continue
        taken.add(position)


def _phrases(question: Question, folded: Sequence[str], taken: set[int]) -> Iterator[str]:
    """Yield the runs of words that nothing was made of, with the words between them that change nothing."""
    stop = _lists().stop
    run: list[str] = []
    for position, token in enumerate(question.tokens):
        if position not in taken and folded[position]:
            run.append(token.rstrip("."))
        elif run and folded[position] in stop and _continues(position, folded, taken):
            run.append(token)
        elif run:
            yield " ".join(run)
            run = []
    if run:
        yield " ".join(run)


def _continues(position: int, folded: Sequence[str], taken: set[int]) -> bool:
    """Return whether an unknown word follows, behind words that change nothing."""
    for after in range(position + 1, len(folded)):
        if after not in taken and folded[after]:
            return True
        if folded[after] not in _lists().stop:
            return False
    return False


def parts_of(phrase: str) -> list[str]:
    """Return the parts of a phrase between its words that change nothing."""
    parts: list[list[str]] = [[]]
    for token in phrase.split():
        if " ".join(words(token)) in _lists().stop:
            parts.append([])
        else:
            parts[-1].append(token)
    return [" ".join(part) for part in parts if part]


def _longest(lexicon: "Lexicon[_T]", folded: Sequence[str], taken: set[int]) -> dict[int, tuple[int, "_T"]]:
    """Return the longest phrase at each position that no longer one covers, with its end."""
    pieces = [(piece, position) for position, word in enumerate(folded) for piece in (word.split() or [""])]
    found: dict[int, tuple[int, _T]] = {}
    for match in lexicon.matches([piece for piece, _ in pieces]):
        start, end = pieces[match.start][1], pieces[match.end - 1][1] + 1
        if taken.isdisjoint(range(start, end)) and end > found.get(start, (start, None))[0]:
            found[start] = (end, match.value)
    covered: set[int] = set()
    for start in sorted(found, key=lambda one: (-(found[one][0] - one), one)):
        span = set(range(start, found[start][0]))
        if covered & span:
            del found[start]
        covered |= span
    return found


@dataclass(frozen=True)
class _Lists:
    operations: Lexicon[str]
    nouns: Lexicon[str]
    ambiguous: Lexicon[str]
    months: Lexicon[int]
    units: Lexicon[int]
    stop: frozenset[str]


@cache
def _lists() -> _Lists:
    data = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))

    def lexicon(name: str) -> Lexicon[str]:
        return Lexicon((phrase, value) for value, phrases in data[name].items() for phrase in phrases)

    return _Lists(
        operations=lexicon("operations"),
        nouns=lexicon("nouns"),
        ambiguous=lexicon("ambiguous"),
        months=Lexicon((one, number) for number, names in enumerate(data["months"].values(), 1) for one in names),
        units=Lexicon((one, int(seconds)) for seconds, names in data["units"].items() for one in names),
        stop=frozenset(" ".join(words(one)) for one in data["stop"]["words"]),
    )
