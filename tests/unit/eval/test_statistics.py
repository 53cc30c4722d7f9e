"""Intervals of shares, means and percentiles."""

import pytest
from graphmesh_eval.statistics import mean, percentile, share


def test_a_share_has_the_interval_of_wilson() -> None:
    """10 of 20: the textbook's 0.299 to 0.701."""
    found = share(10, 20)
    assert (found.value, found.count) == (0.5, 20)
    assert found.low == pytest.approx(0.2993, abs=1e-4)
    assert found.high == pytest.approx(0.7007, abs=1e-4)


def test_a_share_of_none_or_all_is_not_certain() -> None:
    none, every = share(0, 10), share(10, 10)
    assert none.low == 0
    assert none.high == pytest.approx(0.2775, abs=1e-4)
    assert every.low == pytest.approx(0.7225, abs=1e-4)
    assert every.high == 1


def test_of_nothing_there_is_no_number() -> None:
    assert share(0, 0).value is mean([], 1).value is percentile([], 0.5, 1).value is None


def test_a_mean_is_within_its_interval_and_the_same_under_a_seed() -> None:
    found = mean([0.0, 0.0, 10.0, 2.0], 7)
    assert found.value == 3
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < 3 < found.high <= 10
    assert found == mean([0.0, 0.0, 10.0, 2.0], 7)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.95, 0).value == 95
    assert percentile(values, 0.5, 0).value == 50
