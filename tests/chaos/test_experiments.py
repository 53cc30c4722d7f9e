"""Short experiments: processes die and freeze while runs request approvals, charge money and open tickets."""

from pathlib import Path

import pytest
from graphmesh_chaos import link_faults
from graphmesh_chaos.experiment import MeshOptions, Result, run_experiment
from graphmesh_chaos.kill_schedule import POLICY, SETTINGS, kill_schedule
from graphmesh_chaos.mesh_files import DRAFTS_FILE
from graphmesh_chaos.schedule import CUTTING_OFF, NETWORK, FaultKind, Schedule, mixed_schedule
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner
from graphmesh_orchestrator.db.clock import LEASE_SECONDS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

RUNS = 32
KILLS, KILL_RUNS = 200, 100
REQUIRED_FAULTS = {
    ("orchestrator", FaultKind.KILL),
    ("orchestrator", FaultKind.FREEZE),
    ("billing", FaultKind.KILL),
    ("ticketing", FaultKind.KILL),
    ("envoy", FaultKind.KILL),
}
"""In every experiment: each process dies, and an orchestrator is paused for longer than its lease."""
REQUIRED_SHARED_FAULTS = {
    ("orchestrator", FaultKind.TERMINATE),
    ("orchestrator", FaultKind.DROP_CONNECTIONS),
    ("postgres", FaultKind.CRASH),
    ("redis", FaultKind.KILL),
}


PROCESS_KINDS = [kind for kind in FaultKind if kind not in NETWORK]


def faults_of(schedule: Schedule) -> set[tuple[str, FaultKind]]:
    return {(fault.target.partition("-")[0], fault.kind) for fault in schedule.faults}


def assert_no_violation(result: Result, runs: int = RUNS) -> None:
    """All runs succeeded without lost or duplicate effects, some after a takeover, and approvers answered."""
    assert result.violations == []
    assert len(result.history.runs) == len(result.history.tickets) == runs
    assert len(result.history.charges) == sum(bool(run.charge_id) for run in result.history.runs) > 0
    assert max(run.epoch for run in result.history.runs) > 1
    assert result.history.answers


async def test_one_orchestrator_on_sqlite(tmp_path: Path, spawn: Spawner) -> None:
    """A restarted process resumes its own runs."""
    schedule = mixed_schedule(19104, runs=RUNS, seconds=5, faults=6, kinds=PROCESS_KINDS)
    assert faults_of(schedule) >= REQUIRED_FAULTS
    result = await run_experiment(schedule, tmp_path, MeshOptions(spawn=spawn))
    assert_no_violation(result)


async def test_three_orchestrators_on_postgresql(tmp_path: Path, spawn: Spawner) -> None:
    """Other orchestrators resume the runs of a paused or dead one, which changes nothing when it continues.

    All survive a crash of PostgreSQL, which keeps committed data, and the death of Redis, which keeps none.
    """
    schedule = mixed_schedule(17513, runs=RUNS, seconds=15, faults=14, orchestrators=3, kinds=PROCESS_KINDS)
    assert faults_of(schedule) >= REQUIRED_FAULTS | REQUIRED_SHARED_FAULTS
    async with shared_servers() as shared:
        result = await run_experiment(schedule, tmp_path, MeshOptions(3, shared, spawn=spawn))
    assert_no_violation(result)


async def test_links_of_three_orchestrators(tmp_path: Path, spawn: Spawner) -> None:
    """Links are cut, half dead, slow and lossy; one separates an orchestrator from PostgreSQL for more than a lease."""
    schedule = mixed_schedule(24765, runs=RUNS, seconds=9, faults=9, orchestrators=3, kinds=NETWORK)
    assert {fault.kind for fault in schedule.faults} == set(NETWORK)
    assert any(
        fault.target.endswith("/postgres") and fault.kind in CUTTING_OFF and fault.seconds > LEASE_SECONDS
        for fault in schedule.faults
        if fault.target.startswith("orchestrator")
    )
    async with shared_servers() as shared:
        options = MeshOptions(3, shared, graph=DRAFTS_FILE, settings=link_faults.SETTINGS, spawn=spawn)
        result = await run_experiment(schedule, tmp_path, options)
    assert_no_violation(result)


async def test_hundreds_of_kills(tmp_path: Path, spawn: Spawner) -> None:
    """A process is killed again soon after its restart, and most kills interrupt work."""
    schedule = kill_schedule(4, runs=KILL_RUNS, seconds=30, faults=KILLS, orchestrators=3)
    async with shared_servers() as shared:
        options = MeshOptions(3, shared, settings=SETTINGS, policy=POLICY, spawn=spawn)
        result = await run_experiment(schedule, tmp_path, options)
    assert_no_violation(result, KILL_RUNS)
    assert [injected.fault.kind for injected in result.injected] == [FaultKind.KILL] * KILLS
    assert sum(injected.interrupted_work for injected in result.injected) > KILLS / 2
