"""Jumps of the database's clock: whatever is stored as a moment neither ends at once nor lasts without end."""

from datetime import timedelta

from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.db.database_clock import DatabaseClock
from graphmesh_orchestrator.leases.leases import Leases
from graphmesh_orchestrator.leases.leases_sql import SqlLeases

from tests.contract.orchestrator.stores import SERVED, SqlStores, a_question
from tests.contract.orchestrator.test_deliveries import a_delivery
from tests.contract.runs import a_run

HOUR = 3600.0


class JumpedClock(DatabaseClock):
    """A clock that has just jumped."""

    is_steady = False


def leases_after_jump(stores: SqlStores) -> Leases:
    return SqlLeases(stores.database, "other", JumpedClock(stores.database))


async def test_lease_that_a_forward_jump_ended_is_not_claimed_before_it_can_be_renewed(sql_stores: SqlStores) -> None:
    run = await sql_stores.begun(a_run())
    await sql_stores.advance(HOUR)
    assert not await leases_after_jump(sql_stores).claim(SERVED, 1)
    await sql_stores.leases("worker").renew({run.run_id: run.state.epoch})
    assert not await sql_stores.claimed()


async def test_runs_that_no_worker_holds_are_claimed_after_a_jump(sql_stores: SqlStores) -> None:
    dead, released = await sql_stores.begun(a_run(), "dead"), await sql_stores.begun(a_run("run_2"))
    await sql_stores.leases("worker").release({released.run_id: released.state.epoch})
    claimed = await leases_after_jump(sql_stores).claim(SERVED, 9, ["dead"])
    assert {run.run_id for run in claimed} == {released.run_id, dead.run_id}


async def test_lease_that_a_jump_back_made_long_is_renewed(sql_stores: SqlStores) -> None:
    run = await sql_stores.begun(a_run())
    await sql_stores.advance(-HOUR)
    await sql_stores.leases("worker").renew({run.run_id: run.state.epoch})
    left = await sql_stores.lease_expires(run.run_id) - await sql_stores.now()
    assert 0 < left <= LEASE_SECONDS


async def test_lease_that_a_jump_back_made_long_is_claimed_if_no_worker_renews_it(sql_stores: SqlStores) -> None:
    run = await sql_stores.begun(a_run())
    await sql_stores.advance(-HOUR)
    assert not await leases_after_jump(sql_stores).claim(SERVED, 1)
    assert await sql_stores.claimed() == [run.run_id]


async def test_delivery_is_due_at_once_if_a_jump_back_made_its_backoff_longer_than_any(sql_stores: SqlStores) -> None:
    deliveries = sql_stores.deliveries
    await sql_stores.add_deliveries(a_delivery(1))
    [first] = await deliveries.claim(8, [])
    await deliveries.record_failure(first, "HTTP 500", backoff=60)
    await sql_stores.advance(-3 * HOUR)
    due = await deliveries.next_due()
    assert due is not None
    assert due <= 0
    assert [delivery.delivery_id for delivery in await deliveries.claim(8, [])] == [first.delivery_id]


async def test_deadline_does_not_shrink_if_the_clock_jumps_back_while_a_run_is_parked(sql_stores: SqlStores) -> None:
    run = await sql_stores.begun(a_run())
    await sql_stores.park(run, a_question(run.run_id, "one"), ago=timedelta(hours=-1))
    resumed = await sql_stores.interrupts.answer(run.identity.tenant, run.run_id, {"one": 1}, "ana")
    assert resumed.state.deadline == run.state.deadline
