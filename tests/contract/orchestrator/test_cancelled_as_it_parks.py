"""A run that is to be ended at the moment in which it parks is ended, and does not wait for an answer (B4, B5, B8)."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit
from graphmesh_orchestrator.interrupts.interrupts_sql import PENDING, interrupts
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Event, EventKind, Multitask, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.journal import progress

NOW = datetime.now(UTC) - timedelta(hours=1)
QUESTION = {
    "run_id": "run_1",
    "interrupt_id": "a",
    "tenant": "acme",
    "node": "ask",
    "value": "sure?",
    "created": NOW,
    "status": PENDING,
    "answer": None,
    "answered": None,
    "answered_by": "",
    "approval_id": None,
    "approval": None,
    "expires": 0,
    "comment": "",
}


def a_run(number: int, strategy: Multitask = Multitask.REJECT) -> Run:
    created = NOW + timedelta(seconds=number)
    run = Run(f"run_{number}", "acme", "ana", "th", "pay", {}, created, created + timedelta(hours=9), 25)
    return replace(run, multitask=strategy)


async def by_a_caller(runs: SqlRuns) -> None:
    await runs.ask_to_cancel("acme", "run_1", "not wanted any more")


async def by_the_next_run(runs: SqlRuns) -> None:
    await runs.add(a_run(2, Multitask.INTERRUPT), "worker")


@pytest.mark.parametrize("ended", [by_a_caller, by_the_next_run])
async def test_a_run_that_is_cancelled_as_it_parks_is_ended(
    database: Database, commits: GroupCommit, ended: Callable[[SqlRuns], Awaitable[None]]
) -> None:
    """Its worker has not heard of it when it stores the park; somebody has to get the run all the same."""
    runs = SqlRuns(database)
    run = await runs.add(a_run(1), "worker")
    await ended(runs)
    parked = replace(run, status=RunStatus.INTERRUPTED, parked=NOW, last_seq=1)
    event = Event(1, NOW, EventKind.STATUS, "", {"status": RunStatus.INTERRUPTED})
    await commits.store(progress(parked, [event], {interrupts: [QUESTION]}))
    [taken] = await SqlLeases(database, "other").claim([("pay", 1)], 10, dead={"worker"})
    assert (taken.run_id, taken.epoch, bool(taken.cancel_reason)) == ("run_1", 2, True)
