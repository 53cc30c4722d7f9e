"""The measures of `graphmesh bench rates`."""

import pytest
from graphmesh_bench.rates import most_in_a_window, share_used


def test_windows_begin_anywhere() -> None:
    """Nine calls at the end of a period and nine at the beginning of the next one are eighteen in one window."""
    times = [9.9 + number / 100 for number in range(9)] + [10.1 + number / 100 for number in range(9)]
    assert most_in_a_window(times, 10) == 18
    assert most_in_a_window([0.0, 10.0, 20.0], 10) == 1
    assert most_in_a_window([], 10) == 0


def test_share_is_of_whole_periods() -> None:
    times = [float(second) for second in range(25)]
    assert share_used(times, 10, 10) == pytest.approx(1)
    assert share_used(times, 20, 10) == pytest.approx(0.5)
    assert share_used([1.0], 10, 10) == 0
