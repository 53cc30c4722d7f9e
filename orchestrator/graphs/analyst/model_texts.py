"""Checks of the texts of a model that people see: a unit, a question, sentences, a query that states its result."""

import re
from collections.abc import Iterator, Sequence

from graphmesh_contracts import EXPONENTS
from graphmesh_nodes.guardrails.answers import leaks, phrases_of
from graphmesh_nodes.guardrails.words import words

from analyst import prompts
from analyst.policy import AnalystPolicy
from analyst.state import Cell

MAX_QUESTION_CHARACTERS = 200
ROUND = frozenset({"100", "1000", "10000"})
"""Numbers in a selection that scale, and are no result."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_IN_A_SENTENCE = re.compile(r"[.:;!\d]")
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\s\w]")
_KEYWORDS = frozenset(
    {"AS", "CASE", "WHEN", "THEN", "ELSE", "END", "AND", "OR", "NOT", "NULL", "IS", "IN", "LIKE", "BETWEEN", "DISTINCT"}
    | {"TRUE", "FALSE", "INTEGER", "REAL", "TEXT", "NUMERIC"}
)
_INSTRUCTIONS = phrases_of(prompts.query("", ""), prompts.narrative("", ""))


def known_unit(unit: str, found: AnalystPolicy) -> str:
    """Return a unit of the policy, a currency or percent; empty for any other text."""
    known = {found.unit, *(measure.unit for measure in found.measures), *EXPONENTS, "%"}
    return unit.strip() if unit.strip() in known else ""


def plain_question(text: str) -> str:
    """Return one short question that states nothing; empty for any other text."""
    question = text.strip()
    is_one = question.endswith("?") and question.count("?") == 1 and not _IN_A_SENTENCE.search(question)
    is_short = len(question) <= MAX_QUESTION_CHARACTERS
    return question if is_one and is_short and not leaks(question, instructions=_INSTRUCTIONS) else ""


def is_about_rows(text: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bool:
    """Return whether each sentence has a number, a label or a column of the result, and none quotes the prompt."""
    names = [*columns, *(cell for row in rows for cell in row if isinstance(cell, str))]
    known = [f" {' '.join(words(name))} " for name in names if words(name)]
    plain = [f" {' '.join(words(sentence))} " for sentence in _SENTENCE.split(text) if sentence.strip()]
    related = all(re.search(r"\d", one) or any(name in one for name in known) for one in plain)
    return related and not leaks(text, instructions=_INSTRUCTIONS)


def states_its_result(query: str, rows: Sequence[Sequence[Cell]]) -> bool:
    """Return whether a selected expression reads no column, or a number of the result is a literal of a selection."""
    selections = list(_selections(_TOKEN.findall(query)))
    if any(not _reads_a_column(one) for one in selections):
        return True
    literals = {float(token) for one in selections for token in one if token[0].isdigit() and token not in ROUND}
    large = {value for value in literals if abs(value) >= 10}
    return any(isinstance(cell, int | float) and float(cell) in large for row in rows for cell in row)


def _selections(tokens: Sequence[str]) -> Iterator[list[str]]:
    """Yield the expressions between each SELECT and its FROM, without their aliases."""
    for start, token in enumerate(tokens):
        if token.upper() == "SELECT":
            yield from _expressions(tokens[start + 1 :])


def _expressions(tokens: Sequence[str]) -> Iterator[list[str]]:
    depth, current = 0, list[str]()
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0 or (depth == 0 and token.upper() in ("FROM", "UNION", "EXCEPT", "INTERSECT", "WHERE", ";")):
            break
        if depth == 0 and token == ",":
            yield _without_alias(current)
            current = []
        else:
            current.append(token)
    if current:
        yield _without_alias(current)


def _without_alias(tokens: list[str]) -> list[str]:
    at = next((index for index, token in enumerate(tokens) if token.upper() == "AS"), len(tokens))
    return tokens[:at] if "(" not in tokens[at:] else tokens


def _reads_a_column(tokens: Sequence[str]) -> bool:
    """An identifier that is no function, or all rows (`*` alone or of a count)."""
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        is_name = re.fullmatch(r"[A-Za-z_]\w*|\"[^\"]+\"", token) is not None
        if is_name and after != "(" and token.upper() not in _KEYWORDS:
            return True
    return "*" in tokens and (len(tokens) == 1 or tokens[0].upper() == "COUNT")
