"""Estimates with 95 % confidence intervals: Wilson's for shares, the bootstrap's for means and percentiles."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Z = 1.959963984540054
"""Of a two-sided interval of 95 %."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; of nothing, all three are None."""

    value: float | None
    low: float | None
    high: float | None
    count: int
    """Of the observations."""


def share(hits: int, count: int) -> Estimate:
    """Return a share with Wilson's interval."""
    if count == 0:
        return Estimate(None, None, None, 0)
    p = hits / count
    spread = 1 + Z * Z / count
    middle = (p + Z * Z / (2 * count)) / spread
    half = Z * math.sqrt(p * (1 - p) / count + Z * Z / (4 * count * count)) / spread
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == count else middle + half
    return Estimate(p, low, high, count)


def mean(values: Sequence[float], seed: int) -> Estimate:
    return _bootstrap(values, lambda sample: sum(sample) / len(sample), seed)


def percentile(values: Sequence[float], part: float, seed: int) -> Estimate:
    return _bootstrap(values, lambda sample: _percentile(sample, part), seed)


def _percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _bootstrap(values: Sequence[float], statistic: Callable[[Sequence[float]], float], seed: int) -> Estimate:
    if not values:
        return Estimate(None, None, None, 0)
    chance = random.Random(seed)
    found = [statistic(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    return Estimate(statistic(values), _percentile(found, 0.025), _percentile(found, 0.975), len(values))
