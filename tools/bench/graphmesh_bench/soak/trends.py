"""The rule by which a figure grows or is level. Standard library only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WARM_UP = 0.2
"""The share of the time that is not looked at: caches fill, pools open connections, tables get their first rows."""
SHARE = 0.1
SPREADS = 2.0
LEAST_RISE = 2.0
LEAST = 5
"""Samples without which nothing is said."""
HOUR = 3600.0

Series = Sequence[tuple[float, float]]
"""The seconds since the beginning and the figure then, in their order."""


class Verdict(StrEnum):
    """What a figure does over the time."""

    GROWS = "grows"
    LEVEL = "level"
    UNKNOWN = "too few samples"


@dataclass(frozen=True)
class Trend:
    """A figure after the warm-up."""

    first: float
    last: float
    hourly: float
    """By how much the line through its samples rises in an hour; 0 where there is one sample."""
    verdict: Verdict


def trend(series: Series, seconds: float) -> Trend:
    """The trend of a figure that was looked at for so long, at least once after the warm-up.

    A straight line is laid through the samples after the warm-up (least squares). The figure grows where the line rises
    within them by more than a tenth (`SHARE`) of where it begins, by more than twice (`SPREADS`) the standard deviation
    of the samples around it, and by more than two (`LEAST_RISE`): what goes up and down, as a table does between two
    clean-ups, is level, and so is what has got one connection or one megabyte more.
    """
    warm = [(at, value) for at, value in series if at >= seconds * WARM_UP]
    times, values = zip(*warm, strict=True)
    if len(warm) < 2:
        return Trend(values[0], values[-1], 0.0, Verdict.UNKNOWN)
    slope, start = statistics.linear_regression(times, values)
    around = math.sqrt(statistics.fmean((value - start - slope * at) ** 2 for at, value in warm))
    rise, begin = slope * (times[-1] - times[0]), start + slope * times[0]
    grows = rise > max(SHARE * abs(begin), SPREADS * around, LEAST_RISE)
    verdict = Verdict.UNKNOWN if len(warm) < LEAST else Verdict.GROWS if grows else Verdict.LEVEL
    return Trend(values[0], values[-1], slope * HOUR, verdict)
