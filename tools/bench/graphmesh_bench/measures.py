"""Measures that the benchmarks share."""

import math
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

SCHEDULER_CLOCK = 2
"""The clock of a process that counts what the scheduler gives it; see `clock_getcpuclockid`."""


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """The CPU time of the processes so far, user and system."""
    return sum(map(_cpu_seconds, processes))


def _cpu_seconds(process: psutil.Process) -> float:
    """On Linux by the clock of the process, in nanoseconds; elsewhere by counters of the kernel's ticks.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    if sys.platform != "linux":
        times = process.cpu_times()
        return float(times.user + times.system)
    try:
        return time.clock_gettime(~process.pid << 3 | SCHEDULER_CLOCK)
    except OSError:
        raise psutil.NoSuchProcess(process.pid) from None


@dataclass(frozen=True)
class Ratio:
    """The ratio of two measures over several rounds: the median, and the range in which it is."""

    median: float
    low: float
    high: float

    @classmethod
    def paired(cls, numerators: Sequence[float], denominators: Sequence[float]) -> "Ratio":
        """From the ratio within each round: other load of the machine then affects both measures alike."""
        ratios = _ratios(numerators, denominators)
        return cls(statistics.median(ratios), ratios[0], ratios[-1])

    @classmethod
    def with_interval(cls, numerators: Sequence[float], denominators: Sequence[float]) -> "Ratio":
        """As `paired`, but the range is the 95% confidence interval of the median, of at least six rounds.

        It is that of the binomial distribution, which assumes nothing about the ratios.
        """
        ratios = _ratios(numerators, denominators)
        outside = max(0, math.floor((len(ratios) - 1.96 * math.sqrt(len(ratios))) / 2))
        return cls(statistics.median(ratios), ratios[outside], ratios[-1 - outside])

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.low:.2f} to {self.high:.2f})"


def _ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios of the rounds, the least first."""
    return sorted(one / other if other else math.inf for one, other in zip(numerators, denominators, strict=True))
