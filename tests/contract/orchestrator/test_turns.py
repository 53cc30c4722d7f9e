"""Whose turn a thread is: one run has it, the others wait, in their order (A4, B3, B5)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.errors import QueueFull, RequestIdReused, ThreadBusy, WrongGraph
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Multitask, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.run_queue import SqlWaiting
from graphmesh_orchestrator.worker.suspension import Parking

from tests.contract.checkpoints import kit

NOW = datetime.now(UTC) - timedelta(hours=1)


def a_run(number: int, thread: str = "th", **fields: Any) -> Run:
    created = NOW + timedelta(seconds=number)
    run = Run(f"run_{number}", "acme", "ana", thread, "pay", {}, created, created + timedelta(hours=9), 25)
    return replace(run, **fields)


async def add(database: Database, *added: Run) -> list[Run]:
    return [await SqlRuns(database).add(run, "worker") for run in added]


async def end(database: Database, *run_ids: str) -> None:
    """What the last entry of a run's journal does."""
    async with database.transaction() as connection:
        ended = sa.update(runs).where(runs.c.run_id.in_(run_ids))
        await connection.execute(ended.values(status="success", holds_thread=False))


async def claimed(database: Database) -> list[str]:
    return [run.run_id for run in await SqlLeases(database, "other").claim([("pay", 1)], 10)]


async def cancelled(database: Database) -> set[str]:
    async with database.read() as connection:
        rows = await connection.execute(sa.select(runs.c.run_id).where(runs.c.cancel_reason != ""))
        return set(rows.scalars())


@pytest.mark.parametrize("strategy", list(Multitask))
async def test_whoever_comes_first_has_the_thread(database: Database, strategy: Multitask) -> None:
    [run] = await add(database, a_run(1, multitask=strategy))
    assert (run.status, run.holds_thread, run.epoch) == (RunStatus.RUNNING, True, 1)
    assert await claimed(database) == []


async def test_one_that_waits_is_nobodys_until_its_turn(database: Database) -> None:
    """The order is that of creation, and one thread's queue does not hold up another's."""
    queue = [a_run(number, multitask=Multitask.ENQUEUE) for number in (3, 2)]
    await add(database, a_run(1), *queue, a_run(4, "else"), a_run(5, "else", multitask=Multitask.ENQUEUE))
    waiting = SqlWaiting(database)
    assert (await waiting.admit(), await claimed(database)) == (0, [])
    await end(database, "run_1", "run_4")
    assert (await waiting.admit(), set(await claimed(database))) == (2, {"run_2", "run_5"})
    assert await waiting.admit() == 0
    await end(database, "run_2")
    assert (await waiting.admit(), await claimed(database)) == (1, ["run_3"])
    assert await waiting.next_due() is None


async def test_many_who_let_through_let_one_through(database: Database) -> None:
    """Orchestrators that look at the same instant: the unique index decides."""
    await add(database, a_run(1), *(a_run(number, multitask=Multitask.ENQUEUE) for number in range(2, 6)))
    await end(database, "run_1")
    admitted = await asyncio.gather(*(SqlWaiting(database).admit() for _ in range(8)))
    assert sum(admitted) == 1
    assert await claimed(database) == ["run_2"]


async def test_what_is_not_due_waits_and_keeps_nobody_off(database: Database) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    [delayed] = await add(database, a_run(1, due=later))
    assert (delayed.status, delayed.holds_thread) == (RunStatus.PENDING, False)
    [other] = await add(database, a_run(2))
    assert other.holds_thread
    await end(database, "run_2")
    assert await SqlWaiting(database).admit() == 0


async def test_the_next_time_is_told(database: Database) -> None:
    """Of those that wait for their time; one that waits for its turn may get it now."""
    waiting, now = SqlWaiting(database), datetime.now(UTC).timestamp()
    await add(database, a_run(1))
    assert await waiting.next_due() is None
    await add(database, a_run(2, due=now + 7200), a_run(3, due=now + 3600))
    assert await waiting.next_due() == pytest.approx(3600, abs=60)
    await add(database, a_run(4, multitask=Multitask.ENQUEUE))
    assert (await waiting.next_due() or 0) < 0


async def test_what_has_become_due_takes_the_free_thread(database: Database) -> None:
    await add(database, a_run(1, due=(NOW + timedelta(minutes=1)).timestamp()))
    assert (await SqlWaiting(database).admit(), await claimed(database)) == (1, ["run_1"])


@pytest.mark.parametrize("strategy", [Multitask.INTERRUPT, Multitask.ROLLBACK])
async def test_who_preempts_cancels_those_before(database: Database, strategy: Multitask) -> None:
    """The one that has the thread and those that wait, but not those on other threads; for a rollback it is noted whose
    writes are to be taken back."""
    await add(database, a_run(1), a_run(2, multitask=Multitask.ENQUEUE), a_run(3, "else"))
    [run] = await add(database, a_run(4, multitask=strategy))
    assert await cancelled(database) == {"run_1", "run_2"}
    assert await SqlRuns(database).rolled_back(run) == (["run_1"] if strategy is Multitask.ROLLBACK else [])
    assert await claimed(database) == ["run_2"]
    await end(database, "run_1", "run_2")
    assert (await SqlWaiting(database).admit(), await claimed(database)) == (1, ["run_4"])


async def test_who_comes_next_takes_back_what_is_rolled_back(database: Database, commits: GroupCommit) -> None:
    """Also where the run that asked for it was cancelled before its turn. Nobody does it twice: others build on it."""
    stored, saver = SqlRuns(database), LogSaver(database, commits)
    parking = Parking(SqlInterrupts(database), stored, saver)
    await add(database, a_run(1))
    await kit.put(saver, kit.claimed(kit.at("acme/th"), "run_1"), notes="written by the first")
    [second] = await add(database, a_run(2, multitask=Multitask.ROLLBACK))
    await stored.ask_to_cancel("acme", second.run_id, "not wanted any more")
    await end(database, "run_1", "run_2")
    [third] = await add(database, a_run(3, multitask=Multitask.ENQUEUE))
    await parking.take_back(third)
    assert await saver.aget_tuple(kit.at("acme/th")) is None
    assert await stored.rolled_back(third) == []


async def test_a_delayed_preemption_comes_when_it_is_due(database: Database) -> None:
    due = (NOW + timedelta(minutes=1)).timestamp()
    await add(database, a_run(1, multitask=Multitask.INTERRUPT, due=due), a_run(2, "else"))
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).where(runs.c.run_id == "run_2").values(thread_id="th"))
    await SqlWaiting(database).admit()
    assert await cancelled(database) == {"run_2"}


async def test_a_parked_run_is_handed_over_to_be_ended(database: Database) -> None:
    await add(database, a_run(1))
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(status="interrupted"))
    with pytest.raises(ThreadBusy):
        await add(database, a_run(2))
    await add(database, a_run(3, multitask=Multitask.INTERRUPT))
    assert await claimed(database) == ["run_1"]


async def test_requests_at_once_are_one_run(database: Database) -> None:
    """Whatever the run's id is that each of them has made up; another body is told."""
    await asyncio.gather(*(SqlRuns(database).find("acme", {}, None, 1) for _ in range(20)))  # connections for all
    same = [replace(a_run(number), request_id="r", fingerprint=b"1") for number in range(20)]
    added = await asyncio.gather(*(SqlRuns(database).add(run, "worker") for run in same))
    assert len({run.run_id for run in added}) == 1
    with pytest.raises(RequestIdReused):
        await add(database, replace(a_run(99), request_id="r", fingerprint=b"2"))


async def test_runs_at_once_on_a_thread_have_it_one_at_a_time(database: Database) -> None:
    """One gets the thread. The others are refused, or wait, as they ask for."""
    first = [SqlRuns(database).add(a_run(number), "worker") for number in range(10)]
    outcomes = await asyncio.gather(*first, return_exceptions=True)
    assert sum(isinstance(outcome, Run) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ThreadBusy) for outcome in outcomes) == 9
    queued = [a_run(number, multitask=Multitask.ENQUEUE) for number in range(20, 30)]
    added = await asyncio.gather(*(SqlRuns(database).add(run, "worker") for run in queued))
    assert not any(run.holds_thread for run in added)


async def test_a_thread_is_of_one_graph(database: Database) -> None:
    """Nothing is stored of a run of another one."""
    await add(database, a_run(1))
    await end(database, "run_1")
    with pytest.raises(WrongGraph, match="pay"):
        await add(database, a_run(2, graph="ship"))
    assert len(await SqlRuns(database).find("acme", {}, None, 10)) == 1


async def test_a_tenant_has_so_many_waiting(database: Database) -> None:
    """The next is told when to come back, and nothing of it is stored; other tenants are not concerned."""
    stored = SqlRuns(database, max_waiting=3)
    for number in range(3):
        await stored.add(a_run(number, f"th_{number}"), worker="")
    with pytest.raises(QueueFull) as full:
        await stored.add(a_run(3, "th_3"), worker="")
    assert full.value.retry_after
    await stored.add(a_run(4, tenant="other"), worker="")
    assert len(await stored.find("acme", {}, None, 10)) == 3
    await stored.add(a_run(5, "th_5"), worker="worker")
