"""The group commit: nothing is reported as stored before its commit, and entries of a batch are independent."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import DatabaseUnavailable, ShuttingDown
from graphmesh_orchestrator.checkpoints import CheckpointRef, Entry, GroupCommit, LogSaver, RunEpoch, SqlBatchWriter
from graphmesh_orchestrator.checkpoints.group_commit import LARGE_BYTES
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from langgraph.checkpoint.base import CheckpointMetadata
from sqlalchemy.exc import SQLAlchemyError

from tests.contract.batch_writers import ControlledWriter
from tests.contract.checkpoints import kit

T = kit.at("t")


@pytest_asyncio.fixture
async def deferring(writer: ControlledWriter) -> AsyncIterator[GroupCommit]:
    """A group commit that delays deferrable entries for a minute."""
    async with GroupCommit(writer, defer_seconds=3600).running() as commits:
        yield commits


async def progress() -> None:
    """Let all other tasks continue as far as they can."""
    await asyncio.sleep(0.05)


async def test_store_returns_after_the_commit(saver: LogSaver, writer: ControlledWriter) -> None:
    """While a batch is not committed, its writer waits, and a reader does not find it."""
    with writer.held():
        writing = asyncio.create_task(kit.put(saver, T, value=1))
        await progress()
        assert not writing.done()
        assert await saver.aget_tuple(T) is None
    await writing
    assert await saver.aget_tuple(T) is not None


async def test_is_stored_waits_for_a_checkpoint_that_is_being_stored(
    saver: LogSaver, writer: ControlledWriter, database: Database
) -> None:
    """Another process finds it after the commit."""
    new = kit.checkpoint(value=1)
    ref = CheckpointRef("t", "", new["id"])
    assert not await saver.is_stored(ref)
    with writer.held():
        metadata = CheckpointMetadata(source="fork", step=0, parents={})
        writing = asyncio.create_task(saver.aput(T, new, metadata, new["channel_versions"]))
        await asyncio.sleep(0)
        reading = asyncio.create_task(saver.is_stored(ref))
        await progress()
        assert not reading.done()
    assert await reading
    await writing
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        other_process = LogSaver(database, commits)
        assert await other_process.is_stored(ref)
        assert not await other_process.is_stored(CheckpointRef("t", "", "nothing"))


async def test_entries_of_many_runs_share_a_transaction(
    saver: LogSaver, writer: ControlledWriter, database: Database
) -> None:
    """Entries that arrive during a transaction are stored by the next one."""
    for number in range(20):
        await kit.add_run(database, f"r{number}")
    with writer.held():
        first = asyncio.create_task(kit.put(saver, T, value=1))
        await progress()
        others = [kit.put(saver, kit.with_epoch(kit.at(f"t{n}"), f"r{n}"), value=n) for n in range(20)]
        writing = asyncio.gather(*others)
        await progress()
    await asyncio.gather(first, writing)
    assert len(writer.batches) == 2
    assert len(await kit.list_all(saver, None)) == 21


async def test_a_superstep_is_one_transaction(saver: LogSaver, writer: ControlledWriter) -> None:
    """Tasks' writes share one with the checkpoint after them: seven for five nodes, the input and the input's task."""
    await kit.chain(saver).ainvoke({"log": []}, T, durability="sync")
    assert len(writer.batches) <= 7


async def test_writes_of_a_task_are_stored_without_a_checkpoint(saver: LogSaver) -> None:
    """They do not wait for the task's siblings."""
    stored = await kit.put(saver, T, value=1)
    async with asyncio.timeout(60):
        await saver.aput_writes(stored, [("value", 2)], "task")


@pytest.mark.parametrize("committed", [False, True], ids=["rolled back", "outcome unknown"])
async def test_a_failed_transaction_is_repeated(saver: LogSaver, writer: ControlledWriter, committed: bool) -> None:
    """Its writers get no error, and its rows are stored once."""
    fail = writer.lose_outcomes if committed else writer.fail
    fail(3)
    stored = await kit.put(saver, T, value=1)
    fail(1)
    await saver.aput_writes(stored, [("value", 2)], "task")
    [found] = await kit.list_all(saver, T)
    assert found.pending_writes == [("task", "value", 2)]
    assert len(writer.batches) == 6


async def test_a_cancelled_writer_does_not_affect_its_batch(saver: LogSaver, writer: ControlledWriter) -> None:
    """Its batch is stored, and so are later ones."""
    with writer.held():
        tasks = [asyncio.create_task(kit.put(saver, kit.at(f"t{number}"), value=number)) for number in range(5)]
        await progress()
        later = asyncio.create_task(kit.put(saver, T, value=9))
        await progress()
        tasks[1].cancel()
        later.cancel()
        tasks.append(asyncio.create_task(kit.put(saver, kit.at("t5"), value=5)))
        await progress()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [False, True, *[False] * 4]
    for number in (0, 2, 3, 4, 5):
        assert await saver.aget_tuple(kit.at(f"t{number}")) is not None


async def test_an_invalid_entry_fails_alone(saver: LogSaver, writer: ControlledWriter) -> None:
    """The batch is stored without a row that the database refuses."""
    with writer.held():
        first = asyncio.create_task(kit.put(saver, T, value=1))
        await progress()
        writing = [kit.put(saver, kit.at(f"t{number}"), value=number) for number in range(3)]
        invalid = saver.aput_writes(kit.at("t", "c"), [("value", 1)], None)  # type: ignore[arg-type]
        outcome = asyncio.gather(*writing, invalid, return_exceptions=True)
        await progress()
    await first
    *stored, refused = await outcome
    assert isinstance(refused, SQLAlchemyError)
    assert [type(one) for one in stored] == [dict] * 3
    assert len(await kit.list_all(saver, None)) == 4


async def test_stopping_stores_what_has_arrived(database: Database) -> None:
    """Later entries are refused."""
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        saver = LogSaver(database, commits)
        writing = [asyncio.create_task(kit.put(saver, kit.at(f"t{number}"), value=number)) for number in range(5)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert len(await kit.list_all(saver, None)) == 5
    with pytest.raises(ShuttingDown):
        await kit.put(saver, T, value=1)


async def test_stopping_does_not_wait_for_an_unavailable_database(database: Database, writer: ControlledWriter) -> None:
    async with GroupCommit(writer, retry_seconds=0.01).running() as commits:
        writer.fail(1_000_000)
        writing = asyncio.create_task(kit.put(LogSaver(database, commits), T, value=1))
        await progress()
    with pytest.raises(DatabaseUnavailable):
        await writing


async def test_conflicting_batches_of_two_processes_do_not_deadlock(saver: LogSaver, database: Database) -> None:
    """Two batches follow the same parents in opposite orders: one checkpoint of each pair is stored."""
    parents = [await kit.put(saver, kit.at(f"t{number}"), value=0) for number in range(10)]
    heads = [await saver.aget_tuple(kit.at(f"t{number}")) for number in range(10)]
    assert len(parents) == len(heads)
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        other = LogSaver(database, commits)
        forward = [kit.put(saver, head.config, value=1) for head in heads if head]
        backward = [kit.put(other, head.config, value=2) for head in reversed(heads) if head]
        outcomes = await asyncio.gather(*forward, *backward, return_exceptions=True)
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 10
    async with database.read() as connection:
        assert (await connection.execute(sa.text("SELECT count(*) FROM checkpoints"))).scalar_one() == 20


class Numbers:
    """A source whose entry grows until its transaction begins."""

    is_complete = False
    size = 0

    def __init__(self) -> None:
        self.is_deferrable, self.numbers = True, [1]
        self.taken: list[int] = []

    def take(self) -> Entry:
        self.taken, self.numbers = self.numbers, []
        return Entry()


async def test_large_entries_do_not_share_a_transaction(
    commits: GroupCommit, database: Database, writer: ControlledWriter
) -> None:
    """So the small entries of other runs wait for one large entry at most."""
    saver, large = LogSaver(database, commits), "x" * (LARGE_BYTES + 1)
    with writer.held():
        first = asyncio.create_task(kit.put(saver, kit.at("first"), value=0))
        await progress()
        writing = [asyncio.create_task(kit.put(saver, kit.at(f"large{number}"), value=large)) for number in range(3)]
        writing += [asyncio.create_task(kit.put(saver, kit.at(f"small{number}"), value=1)) for number in range(5)]
        await progress()
    await asyncio.gather(first, *writing)

    assert [len(batch) for batch in writer.batches] == [1, 6, 1, 1]
    assert len(await kit.list_all(saver, None)) == 9


async def test_a_deferrable_source_grows_while_awaited_entries_are_stored(
    deferring: GroupCommit, database: Database, writer: ControlledWriter
) -> None:
    """It shares none of their transactions, and when it is awaited it is stored with all that it has by then."""
    source, saver = Numbers(), LogSaver(database, deferring)
    storing = asyncio.create_task(deferring.store(source))
    await progress()
    for number in range(2):
        await kit.put(saver, kit.at(f"t{number}"), value=number)
        source.numbers.append(number)
    assert (source.taken, len(writer.batches)) == ([], 2)
    source.is_deferrable = False
    await asyncio.gather(storing, kit.put(saver, T, value=1))
    assert (source.taken, len(writer.batches)) == ([1, 0, 1], 3)


async def test_a_source_is_deferred_no_longer_than_the_delay(database: Database, writer: ControlledWriter) -> None:
    """However many transactions of others there are meanwhile."""
    async with GroupCommit(writer, defer_seconds=0.2).running() as commits:
        first, second, saver = Numbers(), Numbers(), LogSaver(database, commits)
        storing = [asyncio.create_task(commits.store(source)) for source in (first, second)]
        await progress()
        async with asyncio.timeout(60):
            while not first.taken:
                await kit.put(saver, T, value=1)
            await asyncio.gather(*storing)
    assert first.taken == second.taken == [1]


async def test_a_deferrable_source_is_stored_after_the_delay(commits: GroupCommit) -> None:
    async with asyncio.timeout(60):
        await commits.store(Numbers())


async def test_a_source_that_is_not_deferrable_any_more_is_stored_at_once(deferring: GroupCommit) -> None:
    source = Numbers()
    storing = asyncio.create_task(deferring.store(source))
    await progress()
    assert not storing.done()
    source.is_deferrable = False
    deferring.wake()
    async with asyncio.timeout(60):
        await storing


async def test_heartbeats_and_commits_do_not_deadlock(commits: GroupCommit, database: Database) -> None:
    """Both lock the rows of many runs, in the same order, so that none of them is repeated."""
    held = {f"r{number}": Epoch(1) for number in range(9)}
    for run_id in reversed(held):
        await kit.add_run(database, run_id)
    with structlog.testing.capture_logs() as logged:
        async with database.transaction() as connection:
            await connection.execute(sa.update(runs).where(runs.c.run_id == "r5").values(last_seq=1))
            renewing = asyncio.create_task(SqlLeases(database, "worker").renew(held))
            entries = [Entry(RunEpoch(run_id, epoch), run={"last_seq": 2}) for run_id, epoch in held.items()]
            storing = asyncio.gather(*map(commits.store, entries))
            await asyncio.sleep(0.3)
        await storing
        assert (await renewing).keys() == held.keys()
    assert logged == []
