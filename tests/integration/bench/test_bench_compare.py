"""`graphmesh bench compare` with the smallest plan, of this checkout with itself. Its numbers are not asserted."""

import sys

import graphmesh_bench.compare
import pytest
from graphmesh_bench.compare import Plan, compare


@pytest.mark.timeout(600)
async def test_every_load_is_measured_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphmesh_bench.compare, "IDLE_SECONDS", 0.1)
    stages = list[str]()
    comparisons, idle = await compare(sys.executable, Plan(pairs=2, runs=1, callers=2), stages.append)
    assert stages == ["Warming up", "Pair 1 of 2", "Pair 2 of 2", "Idle"]
    assert [one.name for one in comparisons] == [
        "CreateRun and WaitRun",
        "ExecuteRun",
        "the same with remote nodes",
        "call of a service",
    ]
    for one in comparisons:
        for side in (one.here, one.there):
            assert len(side.own) == len(side.in_all) == 2
            assert min(side.own) > 0
        assert all(one.row())
    assert len(idle) == 2
