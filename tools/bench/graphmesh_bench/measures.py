"""Measures that the benchmarks share."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """The CPU time of the processes so far, user and system."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


@dataclass(frozen=True)
class Ratio:
    """The ratio of two measures over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def paired(cls, numerators: Sequence[float], denominators: Sequence[float]) -> "Ratio":
        """From the ratio within each round: other load of the machine then affects both measures alike."""
        ratios = [one / other if other else float("inf") for one, other in zip(numerators, denominators, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.low:.2f} to {self.high:.2f})"
