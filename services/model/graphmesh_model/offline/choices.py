"""Select among the values that a schema declares, by the word stems that each shares with the user's question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphmesh_model.domain import Schema
from graphmesh_model.offline.text import stems


@dataclass(frozen=True)
class Choice:
    """A value, with the word stems of its name and description."""

    value: Any
    stems: frozenset[str]

    def overlap(self, question_stems: frozenset[str]) -> int:
        return len(self.stems & question_stems)


@dataclass(frozen=True)
class Selection:
    """The selected choice, with the evidence for it."""

    choice: Choice
    overlap: int
    margin: float
    """Damped lead over the second-best choice, from 0 (a tie, or no shared stem) towards 1."""


def declared_choices(schema: Schema) -> list[Choice]:
    """List the values that `schema` declares by `const`, `enum`, or `oneOf`/`anyOf` of constants; else none."""
    if "const" in schema:
        return [_choice(schema["const"], schema)]
    if "enum" in schema:
        return [_choice(value, {}) for value in schema["enum"]]
    options = schema.get("oneOf") or schema.get("anyOf") or []
    return [_choice(option["const"], option) for option in options] if _all_constant(options) else []


def _all_constant(options: Sequence[Any]) -> bool:
    return all(isinstance(option, dict) and "const" in option for option in options)


def _choice(value: Any, schema: Schema) -> Choice:
    described_by = (value if isinstance(value, str) else "", schema.get("title", ""), schema.get("description", ""))
    return Choice(value, stems(" ".join(described_by)))


def select(options: Sequence[Choice], question_stems: frozenset[str], default: Any = None) -> Selection:
    """Select the option that shares most stems with the question; if no option shares any, `default` or the first.

    One shared stem is thin evidence even if no other option has one, so the margin is damped.
    """
    overlaps = sorted((option.overlap(question_stems) for option in options), reverse=True)
    best, second = overlaps[0], overlaps[1] if len(overlaps) > 1 else 0
    if best == 0:
        return Selection(_with_value(options, default), 0, 0.0)
    chosen = next(option for option in options if option.overlap(question_stems) == best)
    return Selection(chosen, best, (best - second) / (best + 1))


def _with_value(options: Sequence[Choice], value: Any) -> Choice:
    """Return the option of that value, or the first option."""
    return next((option for option in options if option.value == value), options[0])
