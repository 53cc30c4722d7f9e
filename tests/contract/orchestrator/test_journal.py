"""A run's events and its end are stored with its checkpoints, or the run does not end so (B4, C1)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.database import Database
from graphmesh_nodes.budget import Budget, Limits, Usage
from graphmesh_orchestrator.checkpoints import HEAD, Entry, GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints import group_commit as commit
from graphmesh_orchestrator.errors import CheckpointConflict
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.runs.run import Event, EventKind, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.journal import Journal
from langchain_core.runnables import RunnableConfig

from tests.contract.checkpoints import kit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for is not stored by itself."""
    monkeypatch.setattr(commit, "PATIENCE_SECONDS", 3600)


@pytest.fixture
def saver(database: Database, commits: GroupCommit) -> LogSaver:
    return LogSaver(database, commits)


@pytest.fixture
async def journal(database: Database, commits: GroupCommit) -> Journal:
    """Of a run that a worker executes."""
    new = Run("run_1", "acme", "ana", "t", "pay", {}, NOW, NOW + timedelta(hours=1), 25)
    run = await SqlRuns(database).add(new, "worker")
    return Journal(commits, Notifier(), run, Budget(Limits(), Usage(), lambda: None))


async def stored(database: Database) -> tuple[RunStatus, list[Event]]:
    run = await SqlRuns(database).get("acme", "run_1")
    events = await SqlRuns(database).events("run_1", 0, 100)
    assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
    return run.status, events


def of(journal: Journal, config: RunnableConfig | None = None) -> RunnableConfig:
    return kit.leaving(kit.claimed(config or kit.at("t"), "run_1"), journal)


async def conflicting(saver: LogSaver, journal: Journal) -> RunnableConfig:
    """A run whose first checkpoint follows nothing, where somebody else's does by now."""
    first: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "", HEAD: ""}}
    await kit.put(saver, first, value=1)
    return await kit.put(saver, of(journal, first), value=2)


async def test_an_end_takes_along_what_came_before(database: Database, saver: LogSaver, journal: Journal) -> None:
    """Events, checkpoints and the end: one transaction, before which nothing of them is there."""
    async with journal:
        journal.add(EventKind.NODE_STARTED, "a")
        await kit.put(saver, of(journal), value=1)
        assert await stored(database) == (RunStatus.RUNNING, [])
        journal.end(RunStatus.SUCCESS, output={})
        await journal.settled()
        status, events = await stored(database)
    assert (status, [event.kind for event in events]) == (RunStatus.SUCCESS, [EventKind.NODE_STARTED, EventKind.STATUS])
    assert journal.ended == await SqlRuns(database).get("acme", "run_1")
    assert len(await kit.listed(saver, kit.at("t"))) == 1


async def test_no_success_without_its_checkpoint(database: Database, saver: LogSaver, journal: Journal) -> None:
    """What has happened is told all the same, and then how the run ends instead."""
    async with journal:
        journal.add(EventKind.NODE_STARTED, "a")
        await conflicting(saver, journal)
        journal.end(RunStatus.SUCCESS, output={"paid": True})
        with pytest.raises(CheckpointConflict):
            await journal.settled()
        journal.end(RunStatus.ERROR, error=b"")
    status, events = await stored(database)
    assert status == RunStatus.ERROR
    assert [event.data.get("status") for event in events] == [None, RunStatus.ERROR]
    assert (await SqlRuns(database).get("acme", "run_1")).output is None


async def test_an_end_that_cannot_be_stored_is_none(database: Database, saver: LogSaver, journal: Journal) -> None:
    """Nobody says another one, for the process stops just then: the run is left to another worker."""
    async with journal:
        journal.add(EventKind.NODE_STARTED, "a")
        await conflicting(saver, journal)
        journal.end(RunStatus.SUCCESS)
    status, events = await stored(database)
    assert (status, [event.kind for event in events]) == (RunStatus.RUNNING, [EventKind.NODE_STARTED])
    assert journal.ended is None


async def test_the_end_that_is_said_first_holds(database: Database, journal: Journal) -> None:
    """A run that is cancelled while its success is being stored has succeeded."""
    async with journal:
        journal.end(RunStatus.SUCCESS)
        journal.end(RunStatus.CANCELLED)
    status, events = await stored(database)
    assert (status, len(events)) == (RunStatus.SUCCESS, 1)


async def test_an_end_is_stored_whoever_is_cancelled(
    database: Database, saver: LogSaver, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has failed is cancelled before that is stored, while what it left earlier still is under way."""
    storing, cancelled = asyncio.Event(), asyncio.Event()
    commit_batch = GroupCommit._stored

    async def held(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
        storing.set()
        await cancelled.wait()
        return await commit_batch(commits, entries)

    async def execution() -> None:
        async with journal:
            journal.add(EventKind.NODE_STARTED, "a")
            first = await kit.put(saver, of(journal), value=1)
            waiting = asyncio.create_task(journal.settled())
            await storing.wait()
            await kit.put(saver, first, value=2)
            journal.end(RunStatus.ERROR, error=b"")
            ending.set()
        await waiting

    monkeypatch.setattr(GroupCommit, "_stored", held)
    ending, executing = asyncio.Event(), asyncio.create_task(execution())
    await ending.wait()
    executing.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await executing
    async with asyncio.timeout(30):
        while (await SqlRuns(database).get("acme", "run_1")).status is not RunStatus.ERROR:
            await asyncio.sleep(0.01)
    assert len(await kit.listed(saver, kit.at("t"))) == 2


async def test_text_is_joined_until_it_is_stored(
    database: Database, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a model says while that is under way is another event."""
    commit_batch = GroupCommit._stored

    async def meanwhile(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
        monkeypatch.setattr(GroupCommit, "_stored", commit_batch)
        journal.add_text("draft", "paid.")
        return await commit_batch(commits, entries)

    monkeypatch.setattr(GroupCommit, "_stored", meanwhile)
    async with journal:
        for text in ("It ", "is "):
            journal.add_text("draft", text)
    _, events = await stored(database)
    assert [event.data["text"] for event in events] == ["It is ", "paid."]
