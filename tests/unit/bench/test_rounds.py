"""The samples of one round of `graphmesh bench runs`."""

import pytest
from graphmesh_bench.runs.rounds import Plan
from graphmesh_bench.runs.variants import Variant, VariantName


async def no_runs() -> list[float]:
    return []


@pytest.mark.parametrize("crowd", [64, 1000])
def test_measures_each_variant_once_at_each_number_of_callers(crowd: int) -> None:
    """Also if the crowd is one of the numbers of callers: a ratio needs one sample a round."""
    variants = [
        Variant(VariantName.ORCHESTRATOR, no_runs, []),
        Variant(VariantName.MESH_LOG_SAVER, no_runs, [], callers=[1]),
    ]
    cells = [(variant.name, callers) for variant, callers in Plan(seconds=1, repeats=1, crowd=crowd).cells(variants)]
    assert len(cells) == len(set(cells))
    assert {callers for name, callers in cells if name is VariantName.ORCHESTRATOR} == {1, 16, 64, crowd}
    assert [callers for name, callers in cells if name is VariantName.MESH_LOG_SAVER] == [1]
