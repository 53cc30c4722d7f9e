"""Wall clocks jump by hours, either way, while runs execute and processes die."""

from pathlib import Path

import pytest
from graphmesh_chaos.environment_schedule import clock_schedule
from graphmesh_chaos.experiment import PROGRAMS, MeshOptions, Result, run_experiment
from graphmesh_chaos.schedule import FaultKind
from graphmesh_chaos.wall_clock import wall_clocks
from graphmesh_local.databases import shared_servers
from graphmesh_local.fork_client import fork_spawner

pytestmark = pytest.mark.timeout(600)

RUNS = 8


def assert_no_violation(result: Result) -> None:
    """All runs succeeded, some after a takeover, and each clock that may jump did."""
    assert result.violations == []
    assert len(result.history.tickets) == RUNS
    assert max(run.epoch for run in result.history.runs) > 1


async def test_clocks_of_servers_jump_on_sqlite(tmp_path: Path) -> None:
    """Neither do deadlines end, nor are the runs of the only worker claimed again."""
    schedule = clock_schedule(15, runs=RUNS, seconds=4, faults=4)
    assert FaultKind.CLOCK in {fault.kind for fault in schedule.faults}
    with wall_clocks() as clocks:
        async with fork_spawner(PROGRAMS, clocks.settings) as spawn:
            result = await run_experiment(schedule, tmp_path, MeshOptions(spawn=spawn, clocks=clocks))
    assert_no_violation(result)


async def test_clocks_of_servers_and_of_postgresql_jump(tmp_path: Path) -> None:
    """The workers' clocks differ by hours, and PostgreSQL's, which all go by, jumps."""
    schedule = clock_schedule(50, runs=RUNS, seconds=6, faults=8, orchestrators=3)
    assert ("postgres", FaultKind.CLOCK) in {(fault.target, fault.kind) for fault in schedule.faults}
    with wall_clocks() as clocks:
        async with shared_servers() as shared, fork_spawner(PROGRAMS, clocks.settings) as spawn:
            options = MeshOptions(3, shared, spawn=spawn, clocks=clocks)
            result = await run_experiment(schedule, tmp_path, options)
    assert_no_violation(result)
