"""Commits of PostgreSQL take up to two seconds while runs execute, and the renewals of leases with them."""

from pathlib import Path

import pytest
from graphmesh_chaos.environment_schedule import slow_disk_schedule
from graphmesh_chaos.experiment import MeshOptions, run_experiment
from graphmesh_chaos.schedule import FaultKind
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

RUNS = 8


async def test_runs_end_while_commits_are_slow(tmp_path: Path, spawn: Spawner) -> None:
    """Leases may be lost, since their renewals are slow too; no run is given up for its takeovers."""
    schedule = slow_disk_schedule(6, runs=RUNS, seconds=3, faults=1)
    assert [fault.kind for fault in schedule.faults] == [FaultKind.SLOW_DISK]
    async with shared_servers() as shared:
        result = await run_experiment(schedule, tmp_path, MeshOptions(2, shared, spawn=spawn))
    assert result.violations == []
    assert len(result.history.tickets) == RUNS
    logs = "".join(log.read_text() for log in (tmp_path / "logs").glob("orchestrator-*.log"))
    assert "RUN_POISONED" not in logs
