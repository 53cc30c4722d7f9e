"""A run that is answered before its worker knows that it has parked goes on, whatever the worker stores again (B8)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_orchestrator.checkpoints import Entry, GroupCommit
from graphmesh_orchestrator.checkpoints import group_commit as commit
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts, interrupts
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Event, EventKind, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.journal import progress

from tests.contract.orchestrator.test_cancelled_as_it_parks import NOW, QUESTION, a_run


async def test_a_run_that_is_answered_as_it_parks_goes_on(
    database: Database, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The park is committed, and the word of it is lost; so it is stored once more, after the answer."""
    run = await SqlRuns(database).add(a_run(1), "worker")
    commit_batch = GroupCommit._stored

    async def unheard(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
        monkeypatch.setattr(GroupCommit, "_stored", commit_batch)
        await commit_batch(commits, entries)
        await SqlInterrupts(database).answer("acme", "run_1", {"a": "yes"}, "ana")
        raise DatabaseUnavailable()

    monkeypatch.setattr(GroupCommit, "_stored", unheard)
    monkeypatch.setattr(commit, "RETRY_SECONDS", 0.01)
    parked = replace(run, status=RunStatus.INTERRUPTED, parked=NOW, last_seq=1)
    event = Event(1, NOW, EventKind.STATUS, "", {"status": RunStatus.INTERRUPTED})
    await commits.store(progress(parked, [event], {interrupts: [QUESTION]}))
    [taken] = await SqlLeases(database, "other").claim([("pay", 1)], 10)
    assert (taken.run_id, taken.epoch, taken.parked) == ("run_1", 2, None)
    assert await SqlInterrupts(database).answers("run_1") == {"a": "yes"}
