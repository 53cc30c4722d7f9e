"""`graphmesh bench telemetry` with the smallest plan. Its numbers are not asserted."""

import pytest
from graphmesh_bench.telemetry import Plan, measure


@pytest.mark.timeout(600)
async def test_every_share_is_measured_beside_runs_without_telemetry() -> None:
    stages = list[str]()
    groups = await measure(Plan(rounds=2, runs=1, callers=2), stages.append)
    assert stages == ["Warming up", "Round 1 of 2", "Round 2 of 2"]
    assert [[one.name for one in group] for group in groups] == [["off", "traces 0%", "traces 10%", "traces 100%"]] * 2
    for group in groups:
        for one in group:
            assert len(one.cpu) == len(one.seconds) == 2
            assert min(one.cpu) > 0
            assert one.row(group[0])
