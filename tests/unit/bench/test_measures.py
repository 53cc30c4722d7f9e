"""The measures of the benchmarks."""

from graphmesh_bench.measures import Ratio
from graphmesh_chaos.recovery import percentile


def test_ratio_is_taken_within_each_round() -> None:
    """A machine at half its speed in one round changes neither the median nor the spread."""
    assert Ratio.paired([2, 4, 8], [1, 2, 4]) == Ratio(2, 2, 2)
    assert str(Ratio.paired([1, 3], [1, 1])) == "2.00× (1.00 to 3.00)"


def test_percentiles_are_measured_values() -> None:
    assert [percentile(list(range(100)), share) for share in (0.5, 0.99)] == [50, 99]
    assert percentile([4.0], 0.5) == 4.0
