"""The heartbeat and the claiming of runs over every store: leases are kept, lost and cancelled in time."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from graphmesh_chassis.epoch import Epoch
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.leases.claiming import Claiming
from graphmesh_orchestrator.leases.heartbeat import Heartbeat
from graphmesh_orchestrator.leases.in_flight import ActiveRun, InFlight, Worker
from graphmesh_orchestrator.leases.leases import Leases
from graphmesh_orchestrator.leases.liveness import NoDeadWorkers
from graphmesh_orchestrator.runs.run import Run

from tests.contract.orchestrator.stores import SERVED, SqlStores, Stores
from tests.contract.orchestrator.test_leases import a_run

NEVER = 3600.0
"""Seconds: an interval that no test waits for."""


class Observed(InFlight):
    """Runs in flight that count what the heartbeat and the claiming do."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.renewals, self.polls = threading.Semaphore(0), 0

    def renewed(self, held: Collection[str], begun: float) -> None:
        super().renewed(held, begun)
        self.renewals.release()

    @property
    def free_capacity(self) -> int:
        self.polls += 1
        return super().free_capacity


def executing(in_flight: InFlight, run: Run) -> ActiveRun:
    """Register a run as active; its task waits until it is cancelled."""
    active = ActiveRun(run, "", in_flight.lease(time.monotonic()))
    in_flight.add(active)
    active.task = asyncio.create_task(asyncio.Event().wait(), name=run.run_id)  # type: ignore[arg-type]
    return active


@asynccontextmanager
async def cancelled_at_end(in_flight: InFlight) -> AsyncIterator[None]:
    """Cancel the tasks of the active runs that are left."""
    try:
        yield
    finally:
        tasks = in_flight.drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_blocked_event_loop_keeps_its_leases(sql_stores: SqlStores) -> None:
    """The heartbeat has a thread of its own: a node that computes for longer than a lease loses nothing."""
    in_flight = Observed(Worker("one"))
    active = executing(in_flight, await sql_stores.begun(a_run(), "one"))
    heartbeat = Heartbeat(partial(sql_stores.open_leases, "one"), in_flight, interval=NEVER)
    async with cancelled_at_end(in_flight), heartbeat:
        assert await asyncio.to_thread(in_flight.renewals.acquire, timeout=60)
        for _ in range(3):
            await sql_stores.advance(LEASE_SECONDS / 2)
            aged = await sql_stores.lease_expires("run_1")
            heartbeat.poll("run_1")  # as the interval does
            assert in_flight.renewals.acquire(timeout=60), "renewed while the loop is blocked by this wait"
            assert await sql_stores.lease_expires("run_1") > aged
        assert await sql_stores.claimed() == []
        assert not active.task.cancelling()


async def test_execution_stops_when_its_lease_is_lost(stores: Stores) -> None:
    in_flight = InFlight(Worker("one"))
    active = executing(in_flight, await stores.begun(a_run(), "one"))
    await stores.advance(LEASE_SECONDS + 1)
    assert await stores.claimed() == ["run_1"]
    async with Heartbeat(partial(stores.open_leases, "one"), in_flight), asyncio.timeout(60):
        with suppress(asyncio.CancelledError):
            await active.task
    assert (active.task.cancelled(), active.cancel_reason) == (True, "")


async def test_execution_of_the_next_epoch_is_not_lost(stores: Stores) -> None:
    """The same worker may have claimed the run again."""
    in_flight = Observed(Worker("one"))
    first = await stores.begun(a_run(), "one")
    await stores.advance(LEASE_SECONDS + 1)
    [second] = await stores.leases("one").claim(SERVED, 1)
    active = executing(in_flight, second)
    async with cancelled_at_end(in_flight), Heartbeat(partial(stores.open_leases, "one"), in_flight, interval=0.01):
        in_flight.lost(first.run_id, first.state.epoch)
        for _ in range(3):
            assert await asyncio.to_thread(in_flight.renewals.acquire, timeout=60)
        assert not active.task.done()


async def test_notified_worker_polls_at_once(stores: Stores) -> None:
    """Neither runs to claim nor runs to cancel wait for the interval."""
    in_flight, begun = InFlight(Worker("one", capacity=2)), asyncio.Queue[ActiveRun]()
    claiming = Claiming(stores.leases("one"), SERVED, in_flight, NoDeadWorkers(), interval=NEVER)
    heartbeat = Heartbeat(partial(stores.open_leases, "one"), in_flight, interval=NEVER)
    await stores.runs.add(a_run(1), worker="")
    task = asyncio.create_task(claiming.run(lambda run, _: begun.put_nowait(executing(in_flight, run))))
    async with cancelled_at_end(in_flight), heartbeat, asyncio.timeout(60):
        assert (await begun.get()).run.run_id == "run_1"
        await stores.runs.add(a_run(2), worker="")
        claiming.poll()
        second = await begun.get()
        assert second.run.run_id == "run_2"
        await stores.runs.request_cancellation("acme", "run_2", "enough")
        heartbeat.poll("run_2")
        with suppress(asyncio.CancelledError):
            await second.task
        assert (second.task.cancelled(), second.cancel_reason) == (True, "enough")
    task.cancel()


async def test_worker_without_free_capacity_claims_nothing(stores: Stores) -> None:
    in_flight = Observed(Worker("one", capacity=1))
    executing(in_flight, await stores.begun(a_run(1), "one"))
    await stores.runs.add(a_run(2), worker="")
    claiming = Claiming(stores.leases("one"), SERVED, in_flight, NoDeadWorkers(), interval=0.01)
    async with cancelled_at_end(in_flight):
        task = asyncio.create_task(claiming.run(lambda run, _: pytest.fail(f"claimed {run.run_id}")))
        async with asyncio.timeout(60):
            while in_flight.polls < 3:
                await asyncio.sleep(0.01)
        task.cancel()
        assert in_flight.held.keys() == {"run_1"}


async def test_error_of_a_renewal_does_not_end_the_heartbeat(stores: Stores) -> None:
    """Whatever it is: the leases of all runs would be lost, and the worker would claim further ones."""
    in_flight = Observed(Worker("one"))
    executing(in_flight, await stores.begun(a_run(), "one"))

    class FailingOnce:
        def __init__(self, leases: Leases) -> None:
            self._leases, self.failed = leases, 0

        async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
            self.failed += 1
            if self.failed == 1:
                raise RuntimeError("unexpected")
            return await self._leases.renew(held)

    @asynccontextmanager
    async def failing_once() -> AsyncIterator[Any]:
        async with stores.open_leases("one") as leases:
            yield FailingOnce(leases)

    async with cancelled_at_end(in_flight), Heartbeat(failing_once, in_flight, interval=0.01):
        assert await asyncio.to_thread(in_flight.renewals.acquire, timeout=60)
