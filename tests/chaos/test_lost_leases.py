"""Workers that lose their leases again and again, since they cannot reach PostgreSQL, and live."""

from pathlib import Path

import pytest
from graphmesh_chaos.experiment import MeshOptions, run_experiment
from graphmesh_chaos.schedule import Fault, FaultKind, Schedule
from graphmesh_chaos.sessions import Session, Turn
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner
from graphmesh_orchestrator.run_status import RunStatus

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

SETTINGS = {"GRAPHMESH_ORCHESTRATOR_MAX_TAKEOVERS": "2"}
PARTITIONS = [
    Fault(at, f"orchestrator-{number}/postgres", FaultKind.PARTITION, 6.0) for at in (2.5, 13) for number in (1, 2)
]


async def test_run_of_living_workers_is_not_poisoned(tmp_path: Path, spawn: Spawner) -> None:
    """Both workers are cut off twice during one superstep of a run, which they then take over from each other."""
    turn = Turn(0.0, "patient", 10_00, seconds=6)
    schedule = Schedule(PARTITIONS, submissions=[], sessions=[Session("thread", [turn])])
    async with shared_servers() as shared:
        result = await run_experiment(schedule, tmp_path, MeshOptions(2, shared, settings=SETTINGS, spawn=spawn))
    [run] = result.history.runs
    assert (run.status, run.epoch >= 3, result.violations) == (RunStatus.SUCCESS, True, [])
