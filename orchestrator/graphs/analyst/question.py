"""A question as values: its operations, the names of the schema that it mentions, its numbers, periods and values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graphmesh_nodes.guardrails.words import words

from analyst.schema import Column
from analyst.vocabulary import vocabulary

MEASURES = ("revenue", "spent", "quantity", "sold")
"""Nouns that name a measure and not a column."""
LENGTH = "length"
"""The noun of a duration, whatever its column is called."""
PERIODS = ("month", "year")
DESCENDING, ASCENDING = ("most", "highest", "top"), ("least", "lowest", "bottom")
"""Operations of rankings. `highest` is of a value, and `most` of a number of rows too."""
COMPARISONS = {"more": ">", "less": "<", "at least": ">=", "at most": "<="}


@dataclass(frozen=True)
class Mention:
    """A name of the schema, a measure or a period in the question."""

    start: int
    end: int
    word: str
    tables: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    is_adverb: bool = False

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
    ends: dict[int, int] = field(default_factory=dict)
    """The position behind each operation."""
    mentions: list[Mention] = field(default_factory=list)
    numbers: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, int] = field(default_factory=dict)
    """Units of time, by position."""
    years: dict[int, int] = field(default_factory=dict)
    months: dict[int, Sequence[int]] = field(default_factory=dict)
    """A month, or the three of a quarter, by position."""
    ranges: set[int] = field(default_factory=set)
    """The positions of words between two periods that are the ends of a range."""
    currencies: dict[int, str] = field(default_factory=dict)
    ambiguous: dict[int, str] = field(default_factory=dict)
    values: dict[str, list[tuple[Column, str]]] = field(default_factory=dict)
    """Where each unknown phrase is a value: the columns, and the value as it is stored."""
    uncertain: set[str] = field(default_factory=set)
    """Phrases of `values` that may be ordinary words as well."""
    unknown: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    """Negations and symbols, which nothing is made of, and which are no value either."""
    chosen: Sequence[Mention] = ()
    """The names in the person's answer to `which one?`."""

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
        return self.has(*DESCENDING, *ASCENDING)

    def has(self, *operations: str) -> bool:
        return any(operation in self.operations.values() for operation in operations)

    def is_joined(self, mention: Mention, others: Sequence[Mention]) -> bool:
        """Return whether an `and` joins a mention to one of others: `by country and year`."""
        position = mention.start - 1
        is_and = position > 0 and " ".join(words(self.tokens[position])) in vocabulary().joined
        return is_and and any(other.end == position for other in others)

    def is_limit(self, position: int) -> bool:
        """Return whether a number bounds a ranking: `top 5`, `which 3 countries`."""
        is_behind = any(name in ("top", "bottom") and 0 < position - at <= 2 for at, name in self.operations.items())
        return is_behind or (self.is_ranked and any(mention.start == position + 1 for mention in self.mentions))

    def wanted(self, columns: Iterable[Column]) -> list[Column]:
        """Return the columns that the person has chosen of these; all where none is."""
        found = list(columns)
        in_table = [one for one in found if any(one.table in mention.tables for mention in self.chosen)] or found
        return [one for one in in_table if any(one in mention.columns for mention in self.chosen)] or in_table

    def is_before(self, phrase: str, column: Column) -> bool:
        """Return whether the name of a column or its table is right before a phrase: `the album Fen`."""
        begin = phrase.split()[0]
        position = next((at for at, token in enumerate(self.tokens) if token.rstrip(".") == begin), 0)
        return any(
            mention.end == position and (column.table in mention.tables or column in mention.columns)
            for mention in self.mentions
        )
