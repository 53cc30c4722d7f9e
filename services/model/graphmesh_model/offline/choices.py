"""Choosing among the values that a schema names, by what the person's words have in common with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphmesh_model.domain import Schema
from graphmesh_model.offline.words import words


@dataclass(frozen=True)
class Choice:
    """A value, and the words that speak for it."""

    value: Any
    words: frozenset[str]

    def overlap(self, question: frozenset[str]) -> int:
        return len(self.words & question)


@dataclass(frozen=True)
class Verdict:
    """What was chosen, and how clearly."""

    choice: Choice
    overlap: int
    margin: float
    """From 0, nothing speaks for it more than for another, towards 1, much speaks for it and nothing for another."""


def choices(schema: Schema) -> list[Choice]:
    """The values that `schema` names: `const`, `enum`, or `oneOf`/`anyOf` of described constants. Else none."""
    if "const" in schema:
        return [_choice(schema["const"], schema)]
    if "enum" in schema:
        return [_choice(value, {}) for value in schema["enum"]]
    options = schema.get("oneOf") or schema.get("anyOf") or []
    return [_choice(option["const"], option) for option in options] if _all_constant(options) else []


def _all_constant(options: Sequence[Any]) -> bool:
    return all(isinstance(option, dict) and "const" in option for option in options)


def _choice(value: Any, schema: Schema) -> Choice:
    spoken = (value if isinstance(value, str) else "", schema.get("title", ""), schema.get("description", ""))
    return Choice(value, words(" ".join(spoken)))


def decide(options: Sequence[Choice], question: frozenset[str], default: Any = None) -> Verdict:
    """The option with most words in common with the question; where none has any, `default` or else the first.

    One shared word is thin evidence even if no other option has one, so the margin of the lead is damped.
    """
    overlaps = sorted((option.overlap(question) for option in options), reverse=True)
    best, second = overlaps[0], overlaps[1] if len(overlaps) > 1 else 0
    if best == 0:
        return Verdict(_named(options, default), 0, 0.0)
    chosen = next(option for option in options if option.overlap(question) == best)
    return Verdict(chosen, best, (best - second) / (best + 1))


def _named(options: Sequence[Choice], value: Any) -> Choice:
    return next((option for option in options if option.value == value), options[0])
