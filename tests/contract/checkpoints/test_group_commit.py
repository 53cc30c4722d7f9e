"""The group commit: nothing is told before it is stored, and nobody pays for another's fate."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from graphmesh_chassis.alone import Alone
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DatabaseUnavailable, ShuttingDown
from graphmesh_orchestrator.checkpoints import Claim, Entry, GroupCommit, LogSaver, Place
from graphmesh_orchestrator.checkpoints import group_commit as commit
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from langgraph.checkpoint.base import CheckpointMetadata
from sqlalchemy.exc import SQLAlchemyError

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun

T = kit.at("t")


class Gate:
    """Stands before a database's write transactions: counts them, holds them, fails them.

    A failing one does its work and does not commit; one that is a single statement has committed, and nobody is told.
    """

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions, self.failures = 0, 0
        self._open = asyncio.Event()
        self._open.set()
        self._transaction = database.transaction
        monkeypatch.setattr(database, "transaction", self._guarded)
        monkeypatch.setattr(Alone, "execute", self._guarded_alone(Alone.execute))

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[Any]:
        self.transactions += 1
        async with self._transaction() as connection:
            yield connection
            await self._open.wait()
            self._fail()

    def _guarded_alone(self, execute: Any) -> Any:
        async def guarded(*arguments: Any) -> Any:
            self.transactions += 1
            await self._open.wait()
            rows = await execute(*arguments)
            self._fail()
            return rows

        return guarded

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """No transaction commits meanwhile."""
        self._open.clear()
        yield
        self._open.set()


@pytest.fixture
def gate(database: Database, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(commit, "RETRY_SECONDS", 0.01)
    return Gate(database, monkeypatch)


async def turns() -> None:
    """Let everybody get as far as they can."""
    await asyncio.sleep(0.05)


async def test_nothing_is_told_before_the_commit(saver: LogSaver, gate: Gate) -> None:
    """While the transaction that holds a write is open, its writer waits, and nobody reads it."""
    with gate.shut():
        writing = asyncio.create_task(kit.put(saver, T, value=1))
        await turns()
        assert not writing.done()
        assert await saver.aget_tuple(T) is None
    await writing
    assert await saver.aget_tuple(T) is not None


async def test_what_is_being_stored_is_waited_for(saver: LogSaver, gate: Gate, database: Database) -> None:
    """Whoever asks whether a checkpoint is stored is told when it is, also by a process that has not stored it."""
    made = kit.checkpoint(value=1)
    place = Place("t", "", made["id"])
    assert not await saver.is_stored(place)
    with gate.shut():
        metadata = CheckpointMetadata(source="fork", step=0, parents={})
        writing = asyncio.create_task(saver.aput(T, made, metadata, made["channel_versions"]))
        await asyncio.sleep(0)
        asking = asyncio.create_task(saver.is_stored(place))
        await turns()
        assert not asking.done()
    assert await asking
    await writing
    async with GroupCommit(database).running() as commits:
        another = LogSaver(database, commits)
        assert await another.is_stored(place)
        assert not await another.is_stored(Place("t", "", "nothing"))


async def test_who_waits_shares_a_transaction(saver: LogSaver, gate: Gate, database: Database) -> None:
    """What comes during a transaction is stored by the next one, whatever run it is of."""
    for number in range(20):
        await begun(database, f"r{number}")
    gate.transactions = 0
    with gate.shut():
        first = asyncio.create_task(kit.put(saver, T, value=1))
        await turns()
        others = [kit.put(saver, kit.claimed(kit.at(f"t{n}"), f"r{n}"), value=n) for n in range(20)]
        writing = asyncio.gather(*others)
        await turns()
    await asyncio.gather(first, writing)
    assert gate.transactions == 2
    assert len(await kit.listed(saver, None)) == 21


async def test_a_superstep_is_one_transaction(saver: LogSaver, gate: Gate) -> None:
    """The writes of its tasks go with the checkpoint after them: five nodes, the input and its task, seven in all."""
    await kit.chain(saver).ainvoke({"log": []}, T, durability="sync")
    assert gate.transactions <= 7


async def test_a_task_writes_without_a_checkpoint(saver: LogSaver, gate: Gate) -> None:
    """The writes of a task whose siblings take their time are stored at once."""
    stored = await kit.put(saver, T, value=1)
    async with asyncio.timeout(20):
        await saver.aput_writes(stored, [("value", 2)], "task")


async def test_the_database_comes_back(saver: LogSaver, gate: Gate) -> None:
    """A transaction that fails is tried again; its writers notice nothing and nothing is there twice."""
    gate.failures = 3
    stored = await kit.put(saver, T, value=1)
    gate.failures = 1
    await saver.aput_writes(stored, [("value", 2)], "task")
    [found] = await kit.listed(saver, T)
    assert found.pending_writes == [("task", "value", 2)]


async def test_who_stops_waiting_takes_nobody_along(saver: LogSaver, gate: Gate) -> None:
    """A cancelled writer's batch is stored, and so are the later ones."""
    with gate.shut():
        tasks = [asyncio.create_task(kit.put(saver, kit.at(f"t{number}"), value=number)) for number in range(5)]
        await turns()
        later = asyncio.create_task(kit.put(saver, T, value=9))
        await turns()
        tasks[1].cancel()
        later.cancel()
        tasks.append(asyncio.create_task(kit.put(saver, kit.at("t5"), value=5)))
        await turns()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [False, True, *[False] * 4]
    for number in (0, 2, 3, 4, 5):
        assert await saver.aget_tuple(kit.at(f"t{number}")) is not None


async def test_what_cannot_be_stored_fails_alone(saver: LogSaver, gate: Gate) -> None:
    """A row that the database does not take fails its writer; the batch that it was in is stored without it."""
    with gate.shut():
        first = asyncio.create_task(kit.put(saver, T, value=1))
        await turns()
        writing = [kit.put(saver, kit.at(f"t{number}"), value=number) for number in range(3)]
        broken = saver.aput_writes(kit.at("t", "c"), [("value", 1)], None)  # type: ignore[arg-type]
        outcome = asyncio.gather(*writing, broken, return_exceptions=True)
        await turns()
    await first
    *stored, refused = await outcome
    assert isinstance(refused, SQLAlchemyError)
    assert [type(one) for one in stored] == [dict] * 3
    assert len(await kit.listed(saver, None)) == 4


async def test_the_end_stores_what_has_come(database: Database) -> None:
    """Stopping waits for what was given before, and takes nothing after."""
    async with GroupCommit(database).running() as commits:
        saver = LogSaver(database, commits)
        writing = [asyncio.create_task(kit.put(saver, kit.at(f"t{number}"), value=number)) for number in range(5)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert len(await kit.listed(saver, None)) == 5
    with pytest.raises(ShuttingDown):
        await kit.put(saver, T, value=1)


async def test_the_end_does_not_wait_for_a_database_that_is_away(database: Database, gate: Gate) -> None:
    async with GroupCommit(database).running() as commits:
        gate.failures = 1_000_000
        writing = asyncio.create_task(kit.put(LogSaver(database, commits), T, value=1))
        await turns()
    with pytest.raises(DatabaseUnavailable):
        await writing


async def test_two_writers_of_two_processes_do_not_end_in_a_deadlock(saver: LogSaver, database: Database) -> None:
    """Batches that follow the same parents in opposite orders: one of each pair is stored, the other is told."""
    parents = [await kit.put(saver, kit.at(f"t{number}"), value=0) for number in range(10)]
    heads = [await saver.aget_tuple(kit.at(f"t{number}")) for number in range(10)]
    assert len(parents) == len(heads)
    async with GroupCommit(database).running() as commits:
        other = LogSaver(database, commits)
        forth = [kit.put(saver, head.config, value=1) for head in heads if head]
        back = [kit.put(other, head.config, value=2) for head in reversed(heads) if head]
        outcomes = await asyncio.gather(*forth, *back, return_exceptions=True)
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 10
    async with database.read() as connection:
        assert (await connection.execute(sa.text("SELECT count(*) FROM checkpoints"))).scalar_one() == 20


class Growing:
    """Numbers on the way to the database, as a run's journal has events."""

    has_checkpoint = False

    def __init__(self) -> None:
        self.is_patient, self.numbers = True, [1]
        self.stored: list[int] = []

    def taken(self) -> Entry:
        self.stored, self.numbers = self.numbers, []
        return Entry()


async def test_what_is_patient_goes_with_the_next_checkpoint(
    commits: GroupCommit, saver: LogSaver, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes along what has come until then."""
    monkeypatch.setattr(commit, "PATIENCE_SECONDS", 60)
    source = Growing()
    storing = asyncio.create_task(commits.store(source))
    await turns()
    source.numbers.append(2)
    assert gate.transactions == 0
    await asyncio.gather(storing, kit.put(saver, T, value=1))
    assert (source.stored, gate.transactions) == ([1, 2], 1)


async def test_patience_has_an_end(commits: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is no longer patient is stored at once, and one that is, after a while."""
    source = Growing()
    async with asyncio.timeout(20):
        await commits.store(source)
    monkeypatch.setattr(commit, "PATIENCE_SECONDS", 60)
    storing = asyncio.create_task(commits.store(source))
    await turns()
    assert not storing.done()
    source.is_patient = False
    commits.look()
    async with asyncio.timeout(20):
        await storing


async def test_heartbeats_and_commits_do_not_end_in_a_deadlock(commits: GroupCommit, database: Database) -> None:
    """Both lock the rows of many runs, and in the same order: nobody has to be tried again."""
    held = {f"r{number}": 1 for number in range(9)}
    for run_id in reversed(held):
        await begun(database, run_id)
    with structlog.testing.capture_logs() as logged:
        async with database.transaction() as connection:
            await connection.execute(sa.update(runs).where(runs.c.run_id == "r5").values(last_seq=1))
            renewing = asyncio.create_task(SqlLeases(database, "worker").renew(held))
            entries = [Entry(Claim(run_id, 1), run={"last_seq": 2}) for run_id in held]
            storing = asyncio.gather(*map(commits.store, entries))
            await asyncio.sleep(0.3)
        await storing
        assert (await renewing).keys() == held.keys()
    assert logged == []
