"""Sessions: several runs on a thread, with clients that read, answer, cancel and update while processes die."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chaos.experiment import MeshOptions, Result, run_experiment
from graphmesh_chaos.operations import OperationKind
from graphmesh_chaos.schedule import FaultKind, Schedule, mixed_schedule
from graphmesh_chaos.sessions import Session, Turn, poisoned_session, sessions
from graphmesh_chaos.thread_model import BUSY
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner
from graphmesh_local.supervisor import OnDeath
from graphmesh_orchestrator.run_status import RunStatus

from tests.chaos.concurrent_experiments import run_concurrently
from tests.chaos.sabotage.settings import sabotaged

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

THREADS = 6
KINDS = (FaultKind.KILL, FaultKind.FREEZE, FaultKind.TERMINATE, FaultKind.DROP_CONNECTIONS, FaultKind.CRASH)


def violated(result: Result) -> set[str]:
    return {violation.invariant for violation in result.violations}


async def test_sessions_on_three_orchestrators(tmp_path: Path, spawn: Spawner) -> None:
    """Every kind of call has succeeded, some are refused, and what they returned has an order on each thread."""
    schedule = mixed_schedule(11, runs=2, seconds=8, faults=7, orchestrators=3, kinds=KINDS)
    schedule = replace(schedule, sessions=sessions(11, threads=THREADS, seconds=8))
    async with shared_servers() as shared:
        result = await run_experiment(schedule, tmp_path, MeshOptions(3, shared, spawn=spawn))
    assert result.violations == []
    operations = result.history.observed.operations
    assert {one.kind for one in operations if one.is_known and not one.reason} == set(OperationKind)
    assert any(one.reason == BUSY for one in operations)
    assert {run.status for run in result.history.runs} >= {RunStatus.SUCCESS, RunStatus.CANCELLED}


async def test_run_that_kills_its_worker_harms_no_other(tmp_path: Path, spawn: Spawner) -> None:
    """It ends with an error after some takeovers, its charge is made once, and the runs beside it succeed."""
    neighbour = Session("neighbour", [Turn(0.0, "neighbour-0", 10_00, seconds=3)])
    schedule = Schedule(faults=[], submissions=[], sessions=[poisoned_session(1), neighbour])
    options = MeshOptions(spawn=spawn, on_death=OnDeath.RESTART)
    result = await run_experiment(schedule, tmp_path, options)
    assert result.violations == []
    statuses = {run.request_id: (run.status, run.epoch > 1) for run in result.history.runs}
    assert statuses == {"poisoned-0": (RunStatus.ERROR, True), "neighbour-0": (RunStatus.SUCCESS, True)}
    assert len(result.history.charges) == 2


TWO_RUNS = [Turn(0.0, "first", 10_00, seconds=1), Turn(0.5, "second", 10_00, cancel_after=0.2)]
LONG_AND_SHORT = [Turn(0.0, "first", 10_00, seconds=6), Turn(0.5, "second", 10_00)]
SABOTAGES: dict[str, tuple[list[Turn], str]] = {
    "stale_reads": ([Turn(0.0, "run", 10_00, seconds=1)], "threads_are_linearizable"),
    "lost_cancellations": (TWO_RUNS, "threads_are_linearizable"),
    "second_ends": ([Turn(0.0, "run", 10_00, cancel_after=3)], "threads_are_linearizable"),
    "lost_events": ([Turn(0.0, "run", 10_00)], "streams_are_stored"),
    "concurrent_runs_of_a_thread": (LONG_AND_SHORT, "threads_are_linearizable"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sabotaged_results(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> Mapping[str, Result]:
    """The result of an experiment for each sabotage."""
    experiments = {
        name: (Schedule([], [], [Session("thread", turns)]), MeshOptions(spawn=sabotaged(spawn, name)))
        for name, (turns, _) in SABOTAGES.items()
    }
    return await run_concurrently(experiments, tmp_path_factory.mktemp("sabotages"))


@pytest.mark.parametrize("sabotage", SABOTAGES)
async def test_finds_each_sabotage(sabotaged_results: Mapping[str, Result], sabotage: str) -> None:
    """The orchestrator breaks one guarantee; there is no fault."""
    _, invariant = SABOTAGES[sabotage]
    assert invariant in violated(sabotaged_results[sabotage])


async def test_finds_nothing_without_a_sabotage(tmp_path: Path, spawn: Spawner) -> None:
    """The same runs, each sabotage's on a thread of its own."""
    threads = {
        name: [replace(turn, name=f"{turn.name}-{number}") for turn in turns]
        for number, (name, (turns, _)) in enumerate(SABOTAGES.items())
    }
    schedule = Schedule([], [], [Session(name, turns) for name, turns in threads.items()])
    result = await run_experiment(schedule, tmp_path, MeshOptions(spawn=spawn))
    assert result.violations == []
