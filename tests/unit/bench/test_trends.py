"""The rule of `graphmesh bench soak` by which a figure grows or is level."""

import itertools

import pytest
from graphmesh_bench.soak.trends import Series, Trend, Verdict, trend

SECONDS = 1000.0
TIMES = [float(at) for at in range(0, 1001, 50)]


def series(*cycle: float, slope: float = 0, warm_up: float = 0) -> Series:
    """Values that repeat, on a slope; `warm_up` is added to those of the warm-up."""
    cycled = zip(TIMES, itertools.cycle(cycle), strict=False)
    return [(at, value + slope * at + (warm_up if at < SECONDS / 5 else 0)) for at, value in cycled]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (series(100.0), Verdict.LEVEL),
        (series(100.0, slope=0.1), Verdict.GROWS),
        (series(100.0, slope=-0.1), Verdict.LEVEL),
        (series(100.0, slope=0.01), Verdict.LEVEL),
        (series(0.0, 300.0, 600.0, 900.0, slope=0.2), Verdict.LEVEL),
        (series(0.0), Verdict.LEVEL),
        (series(6.0, slope=0.002), Verdict.LEVEL),
        (series(0.0, slope=1), Verdict.GROWS),
        ([(900.0 + at, at * at) for at in range(4)], Verdict.UNKNOWN),
    ],
    ids=[
        "constant",
        "steady growth",
        "decline",
        "small growth",
        "sawtooth",
        "zero",
        "one more",
        "growth from zero",
        "too few samples",
    ],
)
def test_verdicts(values: Series, verdict: Verdict) -> None:
    """A figure grows if it rises by more than a tenth, by more than two, and by more than it fluctuates."""
    assert trend(values, SECONDS).verdict is verdict


def test_ignores_the_warm_up() -> None:
    """Neither its values nor the step at its end count."""
    assert trend(series(100.0, warm_up=500.0), SECONDS) == trend(series(100.0, warm_up=-100.0), SECONDS)


def test_slope_is_per_hour() -> None:
    growth = trend(series(100.0, slope=1), SECONDS)
    assert (growth.first, growth.last) == (300.0, 1100.0)
    assert growth.hourly == pytest.approx(3600.0)


def test_one_sample_has_no_slope() -> None:
    assert trend([(900.0, 7.0)], SECONDS) == Trend(7.0, 7.0, 0.0, Verdict.UNKNOWN)
