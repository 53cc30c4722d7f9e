"""What the benchmarks count, and how they compare."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Seconds that the processes have spent."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; infinite where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


@dataclass(frozen=True)
class Ratio:
    """One thing as a multiple of another, over the rounds in which both were measured."""

    median: float
    low: float
    high: float

    @classmethod
    def paired(cls, ones: Sequence[float], others: Sequence[float]) -> "Ratio":
        """Of the ratios within each round: what else the machine did then met both."""
        ratios = [one / other if other else float("inf") for one, other in zip(ones, others, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.low:.2f} to {self.high:.2f})"
