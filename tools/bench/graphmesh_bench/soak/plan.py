"""The parameters of a soak test, and its samples and outcomes. Standard library only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

Figure = tuple[str, str]
"""The subject, and the measure with its unit: ("orchestrator-1", "RSS MB")."""
Figures = Mapping[Figure, float]


@dataclass(frozen=True)
class Plan:
    seconds: float
    """Time under load."""
    every: float
    """Seconds between two samples."""
    callers: int


@dataclass(frozen=True)
class Sample:
    at: float
    """Seconds since the load began."""
    figures: Figures
    runs: int = 0
    """Runs with the expected outcome until then."""
    failed: int = 0


@dataclass
class Outcomes:
    """The outcomes of all runs."""

    runs: Counter[str] = field(default_factory=Counter)
    """Expected ones, by the case of the workload."""
    failures: Counter[str] = field(default_factory=Counter)
    """Unexpected ones, by case and reason."""
