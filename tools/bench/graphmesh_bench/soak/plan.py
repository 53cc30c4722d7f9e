"""What is asked of a mesh, and what it said. Standard library only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

Figure = tuple[str, str]
"""Whose, and what with its unit: ("orchestrator-1", "RSS MB")."""
Figures = Mapping[Figure, float]


@dataclass(frozen=True)
class Plan:
    """How long a mesh is under load, and how often it is looked at."""

    seconds: float
    every: float
    """Seconds between two samples."""
    callers: int


@dataclass(frozen=True)
class Sample:
    at: float
    """Seconds since the load began."""
    figures: Figures
    runs: int = 0
    """How many had gone as they should by then."""
    failed: int = 0


@dataclass
class Tally:
    """What became of the runs."""

    runs: Counter[str] = field(default_factory=Counter)
    """Those that ended as they should, by their kind."""
    failures: Counter[str] = field(default_factory=Counter)
    """The others, by the reason."""
