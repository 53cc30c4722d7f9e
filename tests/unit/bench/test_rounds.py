"""What one round of `graphmesh bench runs` measures."""

import pytest
from graphmesh_bench.runs.kinds import Kind, Name
from graphmesh_bench.runs.rounds import Plan


async def turn() -> list[float]:
    return []


@pytest.mark.parametrize("crowd", [64, 1000])
def test_each_kind_is_measured_once_at_each_number_of_callers(crowd: int) -> None:
    """Also where the crowd is as many as some callers: ratios are of one sample a round."""
    kinds = [Kind(Name.SYNC, turn, []), Kind(Name.MESH_LOG, turn, [], only=[1])]
    cells = [(kind.name, callers) for kind, callers in Plan(seconds=1, repeats=1, crowd=crowd).cells(kinds)]
    assert len(cells) == len(set(cells))
    assert {callers for name, callers in cells if name is Name.SYNC} == {1, 16, 64, crowd}
    assert [callers for name, callers in cells if name is Name.MESH_LOG] == [1]
