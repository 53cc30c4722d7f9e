"""Pending runs in every store: they get their threads in the order of their creation, when they are due."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask, Run

from tests.contract.orchestrator.stores import NOW, Stores
from tests.contract.orchestrator.test_runs import a_run, add


def seconds_from_now(seconds: float) -> float:
    return datetime.now(UTC).timestamp() + seconds


def behind(run: Run) -> Run:
    """The run as a process creates it whose clock is an hour behind."""
    return replace(run, request=replace(run.request, created=run.request.created - timedelta(hours=1)))


async def test_queued_runs_are_admitted_in_the_order_of_creation(stores: Stores) -> None:
    """One at a time on each thread; the queue of one thread does not hold up that of another.

    They are created in the order in which they are stored, whatever the clocks of the processes that store them.
    """
    queue = [a_run(2, multitask=Multitask.ENQUEUE), behind(a_run(3, multitask=Multitask.ENQUEUE))]
    await add(stores, a_run(1), *queue, a_run(4, "else"), a_run(5, "else", multitask=Multitask.ENQUEUE))
    assert (await stores.pending.admit(), await stores.claimed()) == (0, [])
    await stores.end("run_1", "run_4")
    assert (await stores.pending.admit(), set(await stores.claimed())) == (2, {"run_2", "run_5"})
    assert await stores.pending.admit() == 0
    await stores.end("run_2")
    assert (await stores.pending.admit(), await stores.claimed()) == (1, ["run_3"])
    assert await stores.pending.next_due() is None


async def test_concurrent_admissions_give_a_thread_once(stores: Stores) -> None:
    """Orchestrators that poll at the same instant: in SQL the unique index decides."""
    await add(stores, a_run(1), *(a_run(number, multitask=Multitask.ENQUEUE) for number in range(2, 6)))
    await stores.end("run_1")
    admitted = await asyncio.gather(*(stores.pending.admit() for _ in range(8)))
    assert sum(admitted) == 1
    assert await stores.claimed() == ["run_2"]


async def test_delayed_run_does_not_occupy_its_thread(stores: Stores) -> None:
    [delayed] = await add(stores, a_run(1, due=seconds_from_now(3600)))
    assert (delayed.status, delayed.state.holds_thread) == (RunStatus.PENDING, False)
    [other] = await add(stores, a_run(2))
    assert other.state.holds_thread
    await stores.end("run_2")
    assert await stores.pending.admit() == 0


async def test_next_due_is_that_of_the_first_pending_run(stores: Stores) -> None:
    """A run that waits for its turn may get it now, so it is due."""
    await add(stores, a_run(1))
    assert await stores.pending.next_due() is None
    await add(stores, a_run(2, due=seconds_from_now(7200)), a_run(3, due=seconds_from_now(3600)))
    assert await stores.pending.next_due() == pytest.approx(3600, abs=60)
    await add(stores, a_run(4, multitask=Multitask.ENQUEUE))
    assert (await stores.pending.next_due() or 0) < 0


async def test_due_run_gets_the_free_thread(stores: Stores) -> None:
    await add(stores, a_run(1, due=(NOW + timedelta(minutes=1)).timestamp()))
    assert (await stores.pending.admit(), await stores.claimed()) == (1, ["run_1"])


async def test_cancelled_run_is_claimed_without_its_thread(stores: Stores) -> None:
    """A worker ends it; it is not admitted."""
    await add(stores, a_run(1), a_run(2, multitask=Multitask.ENQUEUE))
    await stores.runs.request_cancellation("acme", "run_2", "not wanted any more")
    await stores.end("run_1")
    assert (await stores.pending.admit(), await stores.claimed()) == (0, ["run_2"])


async def test_run_preempts_those_that_were_created_before_it(stores: Stores) -> None:
    """Whatever the clocks of the processes that created them."""
    await add(stores, a_run(1), a_run(2, multitask=Multitask.ENQUEUE))
    await add(stores, behind(a_run(3, multitask=Multitask.INTERRUPT)), behind(a_run(4, multitask=Multitask.ENQUEUE)))
    assert await stores.cancelled() == {"run_1", "run_2"}
    await stores.pending.admit()
    assert await stores.cancelled() == {"run_1", "run_2"}


async def test_delayed_run_preempts_when_it_is_due(stores: Stores) -> None:
    """The runs that were created after it too, if they hold the thread."""
    await add(stores, a_run(1, multitask=Multitask.INTERRUPT, due=seconds_from_now(60)), a_run(2))
    await stores.pending.admit()
    assert await stores.cancelled() == set()
    await stores.advance(61)
    await stores.pending.admit()
    assert await stores.cancelled() == {"run_2"}
