"""Joins a question with the person's answer to what the analyst had to ask about it."""

from analyst.question import Question
from analyst.reading import MAX_CHARACTERS, read
from analyst.schema import Schema

MAX_ANSWER_WORDS = 5
"""A longer message is a new question."""
OPERATIONS = frozenset({"by", "sum", "most", "count"})
"""What an answer may have of a question's operations: `by number of customers`."""


def joined(asked: str, reason: str, answer: str, schema: Schema) -> Question | None:
    """Return the question with the answer in it; None where the message is a question of its own."""
    short = read(answer, schema)
    is_short = 0 < len(short.tokens) <= MAX_ANSWER_WORDS and set(short.operations.values()) <= OPERATIONS
    if not is_short or "?" in answer or len(asked) + len(answer) > MAX_CHARACTERS:
        return None
    match reason:
        case "ambiguous":
            return read(_ranked_by(read(asked, schema), answer), schema)
        case "no_year":
            return read(_dated(read(asked, schema), answer), schema) if short.years else None
        case "several":
            question = read(asked, schema)
            question.chosen = read(answer.replace(".", " "), schema).mentions
            return question if question.chosen else None
    return None


def _ranked_by(question: Question, answer: str) -> str:
    order = "least" if "worst" in question.ambiguous.values() else "most"
    return " ".join([*_without_ambiguous(question), order, answer])


def _dated(question: Question, answer: str) -> str:
    return " ".join([*_without_ambiguous(question), answer])


def _without_ambiguous(question: Question) -> list[str]:
    return [token for position, token in enumerate(question.tokens) if position not in question.ambiguous]
