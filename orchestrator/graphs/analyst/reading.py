"""Reads a question: finds its operations, the names of the schema that it mentions, its numbers and periods."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from graphmesh_nodes.guardrails.words import words

from analyst.question import COMPARISONS, LENGTH, MEASURES, PERIODS, Mention, Question
from analyst.schema import Column, Schema, singular, table_words
from analyst.vocabulary import longest, vocabulary

MAX_CHARACTERS = 1_000
"""A longer text is no question."""
MAX_NAME_WORDS = 3
_TOKEN = re.compile(r"[^\s?!¿¡,;:()<>\[\]{}\"“”„«»]+")
_NUMBER = re.compile(r"\d+(?:\.\d{1,2})?")
"""Without separators of thousands, which are points or commas by the language."""
_YEAR = re.compile(r"(?:19|20)\d\d")
_YEARS = re.compile(r"\b((?:19|20)\d\d)[-–]((?:19|20)\d\d)\b")
_DASHES = ("-", "–", "—")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
ADVERBS = {"monthly": "month", "yearly": "year"}
"""Nouns that group by a period: `monthly revenue`."""


def read(text: str, schema: Schema) -> Question:
    """Read a question. Phrases that are in no list are `unknown` until they are found to be values."""
    tokens = _TOKEN.findall(_YEARS.sub(r"\1 – \2", text[: MAX_CHARACTERS + 1]))
    folded = [" ".join(words(token)).replace(".", "").strip() for token in tokens]
    question = Question(tokens)
    taken = _take_names(question, folded, schema)
    for position, (end, operation) in longest(vocabulary().operations, folded, taken).items():
        question.operations[position] = operation
        question.ends[position] = end
        taken |= set(range(position, end))
    for position, (end, word) in longest(vocabulary().ambiguous, folded, taken).items():
        question.ambiguous[position] = word
        taken |= set(range(position, end))
    _take_numbers(question, folded, taken)
    _take_ranges(question, folded, taken)
    _take_forbidden(question, folded, taken)
    question.unknown = list(_phrases(question, folded, taken))
    if len(text) > MAX_CHARACTERS:
        question.unknown.append("…")
    return question


def _take_names(question: Question, folded: Sequence[str], schema: Schema) -> set[int]:
    """Find names of the schema, the longest first at each position."""
    taken: set[int] = set()
    operations = longest(vocabulary().operations, folded, set())
    nouns = longest(vocabulary().nouns, folded, set())
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
    if last and own and not is_counted and mention.start == last.end:
        question.mentions[-1] = Mention(last.start, mention.end, f"{last.word} {mention.word}", columns=own)
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
        if len(name) == 1 and name[0] in ADVERBS:
            best = (Mention(position, at, ADVERBS[name[0]], is_adverb=True), at)
            continue
        tables = tuple(one for one in schema.tables if table_words(one) == name and one not in schema.views)
        columns = _columns_of(name, schema)
        ids = tuple(one for one in schema.columns if one.words == (*name, "id") and one.table not in schema.views)
        if tables or columns or (ids and not tables) or " ".join(name) in (*MEASURES, *PERIODS, LENGTH):
            own = columns or (() if tables else _entity_ids(ids, schema))
            best = (Mention(position, at, " ".join(name), tables, own), at)
    return best


def _columns_of(name: tuple[str, ...], schema: Schema) -> tuple[Column, ...]:
    """Return the columns of a name; for one word also numbers whose names end with it, such as `UnitPrice`."""
    columns = [
        column for column in schema.columns if not schema.is_reference(column) and column.table not in schema.views
    ]
    exact = tuple(column for column in columns if column.words == name)
    ending = tuple(column for column in columns if column.is_number and column.words[-1:] == name)
    return exact or ending


def _entity_ids(ids: tuple[Column, ...], schema: Schema) -> tuple[Column, ...]:
    """Return the ids of something that has no table of its own, such as orders of order lines."""
    return tuple(column for column in ids if not schema.is_foreign_key(column))


def _take_numbers(question: Question, folded: Sequence[str], taken: set[int]) -> None:
    lists = vocabulary()
    months, units = longest(lists.months, folded, taken), longest(lists.units, folded, taken)
    currencies = longest(lists.currencies, folded, taken)
    for position, word in enumerate(folded):
        if position in taken:
            continue
        token = question.tokens[position].rstrip(".")
        bare = token.strip("".join(_SYMBOLS))
        if _YEAR.fullmatch(token) and not question.has(*COMPARISONS):
            question.years[position] = int(token)
        elif _NUMBER.fullmatch(bare):
            question.numbers[position] = float(bare)
            if symbol := next((one for one in token if one in _SYMBOLS), ""):
                question.currencies[position] = _SYMBOLS[symbol]
        elif position in months:
            question.months[position] = months[position][1]
            taken |= set(range(position, months[position][0]))
        elif position in units and position - 1 in question.numbers:
            question.seconds[position] = units[position][1]
        elif position in currencies or token in _SYMBOLS:
            question.currencies[position] = _SYMBOLS.get(token) or currencies[position][1]
        elif word not in lists.stop:
            continue
        taken.add(position)


def _take_ranges(question: Question, folded: Sequence[str], taken: set[int]) -> None:
    """Take the one word between two years, or two months, that makes them a range: `2021 to 2023`."""
    lists = vocabulary()
    for periods in (sorted(question.years), sorted(question.months)):
        for first, last in pairwise(periods):
            between = last - 1
            is_range = folded[between] in lists.ranges or question.tokens[between] in _DASHES
            is_between = first > 0 and folded[first - 1] in lists.between
            if last - first == 2 and (is_range or is_between):
                question.ranges.add(between)
                taken |= {between, *[first - 1] * is_between}


def _take_forbidden(question: Question, folded: Sequence[str], taken: set[int]) -> None:
    for position, token in enumerate(question.tokens):
        is_symbol = not folded[position] and not re.fullmatch(r"[-–—&.'’*/|]+", token)
        is_negation = folded[position] in vocabulary().negations and position not in taken
        if is_negation or "%" in token or (is_symbol and position not in taken):
            question.forbidden.append(token)
            taken.add(position)


def _phrases(question: Question, folded: Sequence[str], taken: set[int]) -> Iterator[str]:
    """Yield the runs of words that nothing was made of, with the words between them that change nothing."""
    stop = vocabulary().stop
    run: list[str] = []
    for position, token in enumerate(question.tokens):
        if position not in taken and folded[position]:
            run.append(token.rstrip("."))
        elif run and (token == "&" or folded[position] in stop) and _continues(position, folded, taken):
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
        if folded[after] not in vocabulary().stop:
            return False
    return False


def parts_of(phrase: str) -> list[str]:
    """Return the parts of a phrase between its words that change nothing."""
    parts: list[list[str]] = [[]]
    for token in phrase.split():
        if " ".join(words(token)) in vocabulary().stop or token == "&":
            parts.append([])
        else:
            parts[-1].append(token)
    return [" ".join(part) for part in parts if part]
