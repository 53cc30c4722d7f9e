"""What a run records of its decisions: routes with what they looked at, results of checks, and escalations.

Each becomes an event of the run. Texts are cut off and redacted, since they may come from a state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphmesh_chassis.redaction import DEFAULT

MAX_TEXT = 200
"""Characters of a text."""
MAX_SCANNED = 1_000
"""Characters of a longer text that are redacted before it is cut off, so that no half of a secret is left."""
MAX_LINE = 1_000
MAX_ITEMS = 32
"""Values, faults and destinations of one decision; further ones are left out."""


@dataclass(frozen=True)
class Decision:
    """Something that a node of a run has decided."""

    node: str
    namespace: tuple[str, ...]
    """The subgraph of the node: the nodes around it, each with the id of its task."""


@dataclass(frozen=True)
class RouteTaken(Decision):
    """The branch of a conditional edge after the node."""

    condition: str
    """The name of the function that has chosen it."""
    destinations: Sequence[str]
    """The nodes that follow, `__end__` for none."""
    looked_at: Mapping[str, str] = field(default_factory=dict)
    """What the condition looked at, as the author names it."""

    @property
    def trigger(self) -> str:
        """What the condition looked at, in one line of `MAX_LINE` characters at most."""
        line = "  ".join(f"{name}={value}" for name, value in self.looked_at.items())
        return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


@dataclass(frozen=True)
class Validated(Decision):
    """The result of a check."""

    check: str
    faults: Sequence[str] = ()
    """What it has found; empty where it has passed."""


@dataclass(frozen=True)
class Escalated(Decision):
    """The run hands over to a person."""

    reason: str
    to: str = ""
    """To whom or where, as the graph names it: a node, a queue."""


def short(text: str) -> str:
    """Return a text as it may be shown: redacted, valid Unicode, and at most `MAX_TEXT` characters of it."""
    redacted = DEFAULT.redact(text[:MAX_SCANNED]).encode(errors="replace").decode()
    return redacted if len(redacted) <= MAX_TEXT else f"{redacted[: MAX_TEXT - 1]}…"


def shorts(texts: Iterable[str]) -> tuple[str, ...]:
    """Raises TypeError for one text, whose characters would be taken for texts."""
    if isinstance(texts, str):
        raise TypeError("several texts are expected, not one")
    return tuple(short(str(text)) for text in [*texts][:MAX_ITEMS])


def shown(value: Any) -> str:
    """Return a value that a condition looked at as text: a collection by its length, since it may have anything."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return short(value)
        case int() | float():
            return short(f"{value:.15g}" if isinstance(value, float) else str(value)[:MAX_SCANNED])
        case Mapping() | Sequence() | set() | frozenset():
            return f"[{len(value)}]"
        case _:
            return type(value).__name__[:MAX_TEXT]
