"""The rule by which a figure grows or is level. Standard library only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WARM_UP_SHARE = 0.2
"""The share of the time that is ignored: caches fill, pools open connections, tables get their first rows."""
MIN_RISE_SHARE = 0.1
MIN_RISE_DEVIATIONS = 2.0
MIN_RISE = 2.0
MIN_SAMPLES = 5
"""Fewer samples have no verdict."""
HOUR = 3600.0

Series = Sequence[tuple[float, float]]
"""The seconds since the beginning and the value then, in the order of time."""


class Verdict(StrEnum):
    GROWS = "grows"
    LEVEL = "level"
    UNKNOWN = "too few samples"


@dataclass(frozen=True)
class Trend:
    """A figure after the warm-up."""

    first: float
    last: float
    hourly: float
    """The rise of the fitted line in an hour; 0 for one sample."""
    verdict: Verdict


def trend(series: Series, seconds: float) -> Trend:
    """The trend of a figure over `seconds`, with at least one sample after the warm-up.

    A line is fitted to the samples after the warm-up (least squares). The figure grows if the line rises within them by
    more than a tenth (`MIN_RISE_SHARE`) of its first value, by more than twice (`MIN_RISE_DEVIATIONS`) the standard
    deviation of the samples around it, and by more than two (`MIN_RISE`). Thus a figure that fluctuates is level, as
    the size of a table between two vacuums, and so is one that gained one connection or one megabyte.
    """
    warm = [(at, value) for at, value in series if at >= seconds * WARM_UP_SHARE]
    times, values = zip(*warm, strict=True)
    if len(warm) < 2:
        return Trend(values[0], values[-1], 0.0, Verdict.UNKNOWN)
    slope, intercept = statistics.linear_regression(times, values)
    deviation = math.sqrt(statistics.fmean((value - intercept - slope * at) ** 2 for at, value in warm))
    rise, first = slope * (times[-1] - times[0]), intercept + slope * times[0]
    grows = rise > max(MIN_RISE_SHARE * abs(first), MIN_RISE_DEVIATIONS * deviation, MIN_RISE)
    verdict = Verdict.UNKNOWN if len(warm) < MIN_SAMPLES else Verdict.GROWS if grows else Verdict.LEVEL
    return Trend(values[0], values[-1], slope * HOUR, verdict)
