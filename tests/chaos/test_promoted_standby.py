"""The machine of PostgreSQL dies while runs execute, a synchronous standby is promoted, and an orchestrator dies."""

from pathlib import Path

import pytest
from graphmesh_chaos.environment_schedule import failover_schedule
from graphmesh_chaos.experiment import MeshOptions, run_experiment
from graphmesh_chaos.replicated_postgres import replicated_servers
from graphmesh_chaos.schedule import FaultKind
from graphmesh_local.backends import BackendMissing
from graphmesh_local.spawning import Spawner
from graphmesh_orchestrator.leases.liveness import LOCK_ACQUIRED

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

RUNS = 8
ORCHESTRATORS = 2
LAG_SECONDS = 0.2
"""Enough for the loss of what was acknowledged without the standby."""


async def test_a_promoted_standby_has_all_that_was_acknowledged(tmp_path: Path, spawn: Spawner) -> None:
    """Each effect exists exactly once, runs end on the promoted server, and each worker has its lock there."""
    schedule = failover_schedule(116, runs=RUNS, seconds=4, faults=2)
    assert [fault.kind for fault in schedule.faults] == [FaultKind.FAILOVER, FaultKind.KILL]
    try:
        async with replicated_servers(lag_seconds=LAG_SECONDS) as (shared, replicated):
            first = replicated.primary
            mesh_options = MeshOptions(ORCHESTRATORS, shared, spawn=spawn, replicated=replicated)
            result = await run_experiment(schedule, tmp_path, mesh_options)
            assert replicated.primary != first
    except BackendMissing as missing:
        pytest.skip(str(missing))
    assert result.violations == []
    assert len(result.history.tickets) == RUNS
    logs = [log.read_text() for log in (tmp_path / "logs").glob("orchestrator-*.log")]
    assert [log.count(LOCK_ACQUIRED) >= 2 for log in logs] == [True] * ORCHESTRATORS
