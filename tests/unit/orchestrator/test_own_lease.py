"""A worker's own view of its leases: it counts from when a claim or a renewal was begun, and ends before the lease."""

import asyncio

import pytest
from graphmesh_chassis.errors import Fenced
from graphmesh_nodes.effects import lease_header
from graphmesh_orchestrator.db.clock import LEASE_MARGIN_SECONDS, LEASE_RENEWAL_SECONDS, LEASE_SECONDS
from graphmesh_orchestrator.leases.in_flight import ActiveRun, InFlight, OwnLease, Worker

from tests.contract.runs import a_run
from tests.unit.nodes.contexts import a_context


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lease_ends_before_the_database_lets_another_worker_claim() -> None:
    clock = Clock()
    lease = OwnLease(begun=100.0, clock=clock)
    assert lease.remaining == LEASE_SECONDS - LEASE_MARGIN_SECONDS
    clock.now += LEASE_SECONDS - LEASE_MARGIN_SECONDS
    assert lease.remaining <= 0


def test_renewal_counts_from_its_beginning_and_from_the_oldest_lease_that_it_accepts() -> None:
    clock = Clock()
    lease = OwnLease(begun=100.0, clock=clock)
    lease.renewed(begun=104.0)
    clock.now = 104.0
    assert lease.remaining == LEASE_SECONDS - LEASE_RENEWAL_SECONDS - LEASE_MARGIN_SECONDS


def test_renewal_that_was_begun_earlier_does_not_shorten_a_lease() -> None:
    lease = OwnLease(begun=100.0, clock=Clock())
    before = lease.remaining
    lease.renewed(begun=90.0)
    assert lease.remaining == before


def test_single_process_keeps_its_leases() -> None:
    assert InFlight(Worker(), is_alone=True).lease(0.0).remaining == float("inf")


async def test_guard_stops_an_execution_whose_lease_is_over() -> None:
    """It does so without the database, once, and leaves other runs alone."""
    in_flight = InFlight(Worker())
    stopped, continues = (ActiveRun(a_run(run_id), "", in_flight.lease(0.0)) for run_id in ("run_1", "run_2"))
    continues.lease = in_flight.lease(float("inf"))
    for active in (stopped, continues):
        in_flight.add(active)
        active.task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    guard = asyncio.create_task(in_flight.guard())
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60):
            await stopped.task
    assert not continues.task.done()
    guard.cancel()
    continues.task.cancel()


def test_effect_is_not_sent_without_a_lease() -> None:
    with pytest.raises(Fenced):
        lease_header(a_context(lease=OwnLease(0.0, clock=Clock())))


def test_effect_states_how_long_the_lease_holds() -> None:
    assert lease_header(a_context(lease=OwnLease(100.0, clock=Clock()))) == (("x-graphmesh-lease", "4500"),)
    assert lease_header(a_context()) == ()
