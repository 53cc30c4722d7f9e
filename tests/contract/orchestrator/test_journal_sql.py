"""The journal with the checkpoint log: a run ends with its checkpoints, or it does not end."""

import asyncio

import pytest
import pytest_asyncio
from graphmesh_orchestrator.checkpoints import NEWEST, LogSaver
from graphmesh_orchestrator.errors import CheckpointConflict
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import node_started
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.worker.journal import Journal
from langchain_core.runnables import RunnableConfig

from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import NOW, WORKER, SqlStores
from tests.contract.orchestrator.test_journal import journal_of, stored
from tests.contract.runs import a_run


@pytest.fixture
def defer_seconds() -> float:
    """Entries that no caller awaits are not stored by themselves."""
    return 3600


@pytest.fixture
def saver(sql_stores: SqlStores) -> LogSaver:
    return sql_stores.log_saver


@pytest_asyncio.fixture
async def journal(sql_stores: SqlStores) -> Journal:
    """The journal of a run that a worker executes."""
    return journal_of(sql_stores, await sql_stores.runs.add(a_run(thread_id="t", created=NOW), WORKER))


def written_by(journal: Journal, config: RunnableConfig | None = None) -> RunnableConfig:
    """Return the config of a graph whose checkpoints go to the journal."""
    return kit.with_write_behind(kit.with_epoch(config or kit.at("t"), "run_1"), journal)


async def write_conflicting(saver: LogSaver, journal: Journal) -> RunnableConfig:
    """Write a run's first checkpoint, where another writer's is stored already."""
    first: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "", NEWEST: ""}}
    await kit.put(saver, first, value=1)
    return await kit.put(saver, written_by(journal, first), value=2)


async def test_end_is_stored_with_the_checkpoints_before_it(
    sql_stores: SqlStores, saver: LogSaver, journal: Journal
) -> None:
    """Events, checkpoints and the end: one transaction, before which none of them is stored."""
    async with journal:
        journal.add_event(node_started([]), "a")
        await kit.put(saver, written_by(journal), value=1)
        assert await stored(sql_stores) == (RunStatus.RUNNING, [])
        journal.end(RunStatus.SUCCESS, output={})
        await journal.flush()
        status, events = await stored(sql_stores)
    assert (status, [event.kind for event in events]) == (RunStatus.SUCCESS, [EventKind.NODE_STARTED, EventKind.STATUS])
    assert journal.ended == await sql_stores.runs.get("acme", "run_1")
    assert len(await kit.list_all(saver, kit.at("t"))) == 1


async def test_run_does_not_succeed_without_its_checkpoint(
    sql_stores: SqlStores, saver: LogSaver, journal: Journal
) -> None:
    """The events before are stored all the same, and then the error that ends the run instead."""
    async with journal:
        journal.add_event(node_started([]), "a")
        await write_conflicting(saver, journal)
        journal.end(RunStatus.SUCCESS, output={"paid": True})
        with pytest.raises(CheckpointConflict):
            await journal.flush()
        journal.end(RunStatus.ERROR, error=b"")
    status, events = await stored(sql_stores)
    assert status == RunStatus.ERROR
    assert [event.data.get("status") for event in events] == [None, RunStatus.ERROR]
    assert (await sql_stores.runs.get("acme", "run_1")).state.output is None


async def test_run_whose_end_cannot_be_stored_does_not_end(
    sql_stores: SqlStores, saver: LogSaver, journal: Journal
) -> None:
    """It has no other end, for the process stops just then: the run is left to another worker."""
    async with journal:
        journal.add_event(node_started([]), "a")
        await write_conflicting(saver, journal)
        journal.end(RunStatus.SUCCESS)
    status, events = await stored(sql_stores)
    assert (status, [event.kind for event in events]) == (RunStatus.RUNNING, [EventKind.NODE_STARTED])
    assert journal.ended is None


async def test_end_is_stored_though_the_execution_is_cancelled(
    sql_stores: SqlStores, saver: LogSaver, journal: Journal
) -> None:
    """A run that has failed is cancelled before that is stored, while an earlier entry is still being stored."""
    ending = asyncio.Event()

    async def execute() -> None:
        async with journal:
            journal.add_event(node_started([]), "a")
            first = await kit.put(saver, written_by(journal), value=1)
            flushing = asyncio.create_task(journal.flush())
            while not sql_stores.writer.batches:
                await asyncio.sleep(0)
            await kit.put(saver, first, value=2)
            journal.end(RunStatus.ERROR, error=b"")
            ending.set()
        await flushing

    with sql_stores.writer.held():
        executing = asyncio.create_task(execute())
        await ending.wait()
        executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    async with asyncio.timeout(60):
        while (await sql_stores.runs.get("acme", "run_1")).status is not RunStatus.ERROR:
            await asyncio.sleep(0.01)
    assert len(await kit.list_all(saver, kit.at("t"))) == 2
