"""The measures of the benchmarks."""

import time

import psutil
from graphmesh_bench.measures import Ratio, cpu_seconds
from graphmesh_chaos.recovery import percentile


def test_ratio_is_taken_within_each_round() -> None:
    """A machine at half its speed in one round changes neither the median nor the spread."""
    assert Ratio.paired([2, 4, 8], [1, 2, 4]) == Ratio(2, 2, 2)
    assert str(Ratio.paired([1, 3], [1, 1])) == "2.00× (1.00 to 3.00)"


def test_interval_of_the_median_leaves_outliers_out() -> None:
    """Of forty rounds the fourteenth to the twenty-seventh; of few rounds all."""
    ratios = [float(number) for number in range(1, 41)]
    assert Ratio.with_interval(ratios, [1] * 40) == Ratio(20.5, 14, 27)
    assert Ratio.with_interval([3, 1, 2], [1, 1, 1]) == Ratio(2, 1, 3)


def test_cpu_time_of_a_process_is_read_to_less_than_a_tick() -> None:
    process = psutil.Process()
    before, spent = cpu_seconds([process]), time.process_time()
    while time.process_time() - spent < 0.003:
        pass
    assert 0.003 <= cpu_seconds([process]) - before < 5


def test_percentiles_are_measured_values() -> None:
    assert [percentile(list(range(100)), share) for share in (0.5, 0.99)] == [50, 99]
    assert percentile([4.0], 0.5) == 4.0
