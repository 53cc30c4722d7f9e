"""A worker that loses a lease to a slow database declares that it lives, so that the takeover is not counted."""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.leases import heartbeat
from graphmesh_orchestrator.leases.claiming import Claiming
from graphmesh_orchestrator.leases.heartbeat import Heartbeat
from graphmesh_orchestrator.leases.in_flight import SURVIVAL_SECONDS, ActiveRun, InFlight, Worker
from graphmesh_orchestrator.leases.liveness import NoDeadWorkers
from graphmesh_orchestrator.runs.run import Run

from tests.unit.orchestrator.test_executor import a_run


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


class RecordedLeases:
    """Leases whose calls are recorded, while the database is available."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_available = False
        self.renewed_twice = threading.Event()

    async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
        if "renew" in self.calls:
            self.renewed_twice.set()
        self.calls.append("renew")
        return {}

    async def survive(self, lost: Mapping[str, Epoch]) -> None:
        if not self.is_available:
            raise DatabaseUnavailable()
        self.calls.append(dict(lost))

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        self.calls.append("claim")
        return []


async def lose(in_flight: InFlight) -> Run:
    active = ActiveRun(a_run(), "", in_flight.lease(0.0))
    active.task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    in_flight.add(active)
    in_flight.lost(active.run.run_id, active.run.state.epoch)
    await asyncio.gather(active.task, return_exceptions=True)
    return active.run


async def test_lease_that_a_slow_database_has_lost_is_declared_once() -> None:
    clock = Clock()
    in_flight = InFlight(Worker(), clock=clock)
    run = await lose(in_flight)
    assert not in_flight.take_survived()
    clock.time += SURVIVAL_SECONDS
    assert in_flight.take_survived() == {run.run_id: run.state.epoch}
    assert not in_flight.take_survived()


async def test_lease_that_a_blocked_process_has_lost_is_not_declared() -> None:
    """A run that keeps Python's lock is taken over from a worker that lives, and is still what loses its leases."""
    clock = Clock()
    in_flight = InFlight(Worker(), clock=clock)
    await lose(in_flight)
    clock.time += SURVIVAL_SECONDS / 2
    in_flight.blocked()
    clock.time += LEASE_SECONDS
    assert not in_flight.take_survived()


async def test_worker_declares_its_lost_leases_before_it_claims_runs() -> None:
    """However long the database is unavailable."""
    clock, leases = Clock(), RecordedLeases()
    in_flight = InFlight(Worker(), clock=clock)
    run = await lose(in_flight)
    clock.time += SURVIVAL_SECONDS
    claiming = Claiming(leases, [], in_flight, NoDeadWorkers(), interval=0)  # type: ignore[arg-type]
    running = asyncio.create_task(claiming.run(lambda run, begun: None))
    for _ in range(20):
        await asyncio.sleep(0)
    assert leases.calls == []
    leases.is_available = True
    while "claim" not in leases.calls:
        await asyncio.sleep(0)
    running.cancel()
    assert leases.calls[:2] == [{run.run_id: run.state.epoch}, "claim"]


@pytest.mark.parametrize(("tolerated", "is_blocked"), [(-1.0, True), (60.0, False)])
async def test_delayed_heartbeat_shows_that_the_process_was_blocked(
    monkeypatch: pytest.MonkeyPatch, tolerated: float, is_blocked: bool
) -> None:
    in_flight, blocked = InFlight(Worker()), list[str]()
    monkeypatch.setattr(in_flight, "blocked", lambda: blocked.append("blocked"))
    monkeypatch.setattr(heartbeat, "BLOCKED_SECONDS", tolerated)
    leases = RecordedLeases()

    @asynccontextmanager
    async def open_leases() -> AsyncIterator[RecordedLeases]:
        yield leases

    async with Heartbeat(open_leases, in_flight, interval=0.001):  # type: ignore[arg-type]
        await asyncio.to_thread(leases.renewed_twice.wait)
    assert bool(blocked) is is_blocked
