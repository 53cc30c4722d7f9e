"""Leases in every store: each run is claimed by one worker at a time, in a new epoch, and tenants take turns."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from graphmesh_chassis.epoch import Epoch
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.leases.leases import SUSPECT_GROUP, SUSPECT_WAIT_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.worker.progress import progress_entry

from tests.contract import runs
from tests.contract.orchestrator.stores import NOW, SERVED, Stores


def a_run(number: int = 1, **fields: Any) -> Run:
    return runs.a_run(f"run_{number}", created=NOW + timedelta(seconds=number), **fields)


async def add(stores: Stores, *added: Run) -> None:
    """Add runs that no worker holds."""
    for run in added:
        await stores.runs.add(run, worker="")


async def test_concurrent_workers_claim_different_runs(stores: Stores) -> None:
    """Every run is claimed, and once."""
    await add(stores, *(a_run(number) for number in range(30)))
    claimed = await asyncio.gather(*(stores.leases(f"w{number}").claim(SERVED, 4) for number in range(10)))
    names = [run.run_id for runs in claimed for run in runs]
    assert (len(names), len(set(names))) == (30, 30)
    assert max(len(runs) for runs in claimed) <= 4


async def test_oldest_runs_are_claimed_first(stores: Stores) -> None:
    await add(stores, *(a_run(number) for number in (3, 1, 2)))
    assert set(await stores.claimed(2)) == {"run_1", "run_2"}


async def test_claimed_run_is_running(stores: Stores) -> None:
    run = await stores.begun(a_run())
    assert (run.status, run.state.epoch, type(run.state.epoch)) == (RunStatus.RUNNING, 1, Epoch)
    assert await stores.runs.get("acme", "run_1") == run


async def test_tenants_take_turns(stores: Stores) -> None:
    """A tenant with many runs does not delay those of another one; what is left of the limit is its own."""
    await add(stores, *(a_run(number, tenant="busy") for number in range(20)))
    await add(stores, *(a_run(number, tenant="quiet") for number in (1000, 1001)))
    oldest = {f"run_{number}" for number in range(8)}
    assert set(await stores.claimed(10)) == {*oldest, "run_1000", "run_1001"}


async def test_runs_of_some_tenants_are_left_out(stores: Stores) -> None:
    """Where they have as much capacity as they may."""
    await add(stores, *(a_run(number, tenant="busy") for number in range(5)), a_run(1000, tenant="quiet"))
    assert [run.run_id for run in await stores.leases("one").claim(SERVED, 10, without={"busy", "none"})] == [
        "run_1000"
    ]
    assert await stores.leases("one").claim(SERVED, 10, without={"busy"}) == []
    assert len(await stores.claimed(10)) == 5


async def test_executing_runs_count_as_turns(stores: Stores) -> None:
    """Where capacity becomes free one by one, the tenant with the oldest runs does not get all of it."""
    await add(stores, *(a_run(number, tenant="busy") for number in range(3)), a_run(3, tenant="quiet"))
    assert [await stores.claimed(1) for _ in range(4)] == [["run_0"], ["run_3"], ["run_1"], ["run_2"]]


async def test_runs_of_a_dead_worker_are_free_at_once(stores: Stores) -> None:
    """Its leases need not expire. Those of live workers hold."""
    first = await stores.begun(a_run(1), "one")
    await stores.begun(a_run(2), "two")
    [again] = await stores.leases("three").claim(SERVED, 5, dead=["one"])
    assert (again.run_id, again.state.epoch) == (first.run_id, first.state.epoch + 1)


async def test_worker_claims_only_graphs_and_versions_that_it_serves(stores: Stores) -> None:
    await add(stores, a_run())
    assert await stores.leases("w").claim([("other", 1), ("pay", 2)], 5) == []


async def test_held_run_is_claimed_when_its_lease_has_expired(stores: Stores) -> None:
    """In the next epoch."""
    first = await stores.begun(a_run())
    assert await stores.claimed() == []
    await stores.advance(LEASE_SECONDS + 1)
    [second] = await stores.leases("two").claim(SERVED, 1)
    assert (second.run_id, second.state.epoch) == (first.run_id, first.state.epoch + 1)


async def test_renewal_returns_the_runs_of_current_epochs(stores: Stores) -> None:
    """So the worker learns which of its leases are lost."""
    old, kept = await stores.begun(a_run(1)), await stores.begun(a_run(2))
    held = {old.run_id: Epoch(old.state.epoch - 1), kept.run_id: kept.state.epoch, "run_3": Epoch(1)}
    assert await stores.leases("worker").renew(held) == {kept.run_id: ""}
    assert await stores.leases("worker").renew({}) == {}


async def test_lease_is_renewed_when_it_ages(stores: Stores) -> None:
    """Most leases are renewed with the writes of their runs; a heartbeat soon after writes nothing, and still returns
    which runs are held."""
    leases = stores.leases("worker")
    for number in range(5):  # a lease ages too while a loaded machine stalls
        run = await stores.begun(a_run(number))
        held, claimed = {run.run_id: run.state.epoch}, await stores.lease_expires(run.run_id)
        assert await leases.renew(held) == {run.run_id: ""}
        if await stores.lease_expires(run.run_id) == claimed:
            break
    else:
        pytest.fail("each lease was renewed soon after it began")
    await stores.advance(LEASE_SECONDS / 2)
    aged = await stores.lease_expires(run.run_id)
    assert await leases.renew(held) == {run.run_id: ""}
    assert await stores.lease_expires(run.run_id) >= aged + LEASE_SECONDS / 2


async def test_run_that_has_just_ended_is_not_lost(stores: Stores) -> None:
    """Nor is it to be ended, although its cancellation was requested before. Its lease stays as it is."""
    run, leases = await stores.begun(a_run()), stores.leases("worker")
    await stores.runs.request_cancellation("acme", run.run_id, "too late")
    assert await leases.renew({run.run_id: run.state.epoch}) == {run.run_id: "too late"}
    await stores.end(run.run_id)
    await stores.advance(LEASE_SECONDS + 1)
    expired = await stores.lease_expires(run.run_id)
    assert await leases.renew({run.run_id: run.state.epoch}) == {run.run_id: ""}
    assert await stores.lease_expires(run.run_id) == expired


async def test_released_run_is_free_at_once(stores: Stores) -> None:
    """No worker has to wait for the leases of one that drains."""
    run = await stores.begun(a_run(), "one")
    await stores.leases("one").release({run.run_id: run.state.epoch})
    assert [again.state.epoch for again in await stores.leases("two").claim(SERVED, 1)] == [run.state.epoch + 1]


async def test_lease_of_a_later_epoch_is_not_released(stores: Stores) -> None:
    run = await stores.begun(a_run(), "one")
    await stores.leases("one").release({run.run_id: Epoch(run.state.epoch - 1)})
    assert await stores.claimed() == []


async def test_only_process_of_a_database_releases_all_leases(stores: Stores) -> None:
    """Without PostgreSQL no other process can be alive, so a restart does not wait for the leases to expire."""
    await stores.begun(a_run(), "one")
    two = stores.leases("two")
    await two.release_all()
    assert len(await two.claim(SERVED, 1)) == (0 if stores.is_shared else 1)


async def take_over(stores: Stores, worker: str = "other") -> list[Run]:
    """Claim what a worker holds that has stopped to renew its leases."""
    await stores.advance(LEASE_SECONDS + 1)
    return list(await stores.leases(worker).claim(SERVED, 10))


async def test_takeovers_are_counted_until_there_is_a_checkpoint(stores: Stores) -> None:
    run = await stores.begun(a_run())
    assert run.state.takeovers == 0
    [run] = await take_over(stores)
    [run] = await take_over(stores)
    assert (run.state.takeovers, await stores.runs.get("acme", run.run_id)) == (2, run)
    await stores.commits.store(progress_entry(run.with_state(takeovers=0), []))
    [run] = await take_over(stores)
    assert run.state.takeovers == 1


async def test_released_run_is_not_taken_over(stores: Stores) -> None:
    """A worker that drains stops its runs in order."""
    run = await stores.begun(a_run(), "one")
    await stores.leases("one").release({run.run_id: run.state.epoch})
    [again] = await stores.leases("two").claim(SERVED, 1)
    assert again.state.takeovers == 0


async def test_run_of_a_dead_worker_is_taken_over(stores: Stores) -> None:
    await stores.begun(a_run(), "one")
    [again] = await stores.leases("two").claim(SERVED, 5, dead=["one"])
    assert again.state.takeovers == 1


async def test_takeover_from_a_living_worker_is_not_counted(stores: Stores) -> None:
    """A database that is slow again and again poisons no run, also where its next worker has stored events before."""
    run = await stores.begun(a_run(), "one")
    for _ in range(5):
        [again] = await take_over(stores, "other")
        await stores.leases("one").survive({run.run_id: run.state.epoch})
        await stores.commits.store(progress_entry(again, []))
        assert (await stores.runs.get("acme", run.run_id)).state.takeovers == 0
        run = again


async def test_lost_lease_that_no_worker_has_is_released(stores: Stores) -> None:
    run = await stores.begun(a_run(), "one")
    await stores.leases("one").survive({run.run_id: run.state.epoch})
    [again] = await stores.leases("two").claim(SERVED, 1)
    assert again.state.takeovers == 0


async def test_survival_is_of_one_takeover(stores: Stores) -> None:
    """The worker after it has died."""
    run = await stores.begun(a_run(), "one")
    await take_over(stores, "two")
    [again] = await take_over(stores, "three")
    await stores.leases("one").survive({run.run_id: run.state.epoch})
    assert again.state.takeovers == 2
    assert (await stores.runs.get("acme", run.run_id)).state.takeovers == 1


async def test_restart_of_the_only_process_is_a_takeover(stores: Stores) -> None:
    """A run that ends its process is resumed by the next process of the same database."""
    await stores.begun(a_run(), "one")
    await stores.leases("two").release_all()
    assert [run.state.takeovers for run in await take_over(stores, "two")] == [1]


async def suspects(stores: Stores, *runs: Run) -> None:
    """Add runs whose executions have died twice, and are free just now."""
    for run in runs:
        await stores.begun(run, "dead")
    for _ in range(2):
        await stores.leases("dead").claim(SERVED, len(runs), dead=["dead"])
    await stores.advance(LEASE_SECONDS + 0.1)


async def test_suspect_run_is_claimed_last_and_alone(stores: Stores) -> None:
    """A run that was taken over twice may end its process: only a worker without other runs claims it."""
    await add(stores, a_run(3, takeovers=1), a_run(4))
    await suspects(stores, a_run(1), a_run(2))
    one, two, three = stores.leases("one"), stores.leases("two"), stores.leases("three")
    assert {run.run_id for run in await one.claim(SERVED, 10)} == {"run_3", "run_4"}
    assert await one.claim(SERVED, 10) == []
    assert [run.run_id for run in await two.claim(SERVED, 10)] == ["run_1"]
    assert await two.claim(SERVED, 10) == []
    await stores.end("run_3")
    await stores.end("run_4")
    assert [run.run_id for run in await one.claim(SERVED, 10)] == ["run_2"]
    assert await three.claim(SERVED, 10) == []


async def test_suspect_runs_are_claimed_together_but_for_the_last_time(stores: Stores) -> None:
    """So that many of them, as after deaths that no run causes, do not wait for each other."""
    await suspects(stores, *(a_run(number) for number in range(1, SUSPECT_GROUP + 2)))
    leases = stores.leases("one", max_takeovers=4)
    claimed = await leases.claim(SERVED, 20)
    assert (len(claimed), {run.state.takeovers for run in claimed}) == (SUSPECT_GROUP, {3})
    assert await leases.claim(SERVED, 20) == []
    await stores.advance(LEASE_SECONDS + 0.1)
    last = await stores.leases("two", max_takeovers=4).claim(SERVED, 20)
    assert [run.state.takeovers for run in last] == [4]


async def test_cancelled_run_is_no_suspect(stores: Stores) -> None:
    """It is ended without being executed, so it need not wait for a worker without other runs."""
    await add(stores, a_run(3))
    await suspects(stores, a_run(1), a_run(2))
    await stores.runs.request_cancellation("acme", "run_1", "not needed")
    claimed = await stores.leases("one").claim(SERVED, 10)
    assert {run.run_id for run in claimed} == {"run_1", "run_3"}


async def test_suspect_run_that_has_waited_long_is_claimed_beside_others(stores: Stores) -> None:
    """Otherwise workers that are never idle would not end it. A worker has one such run at a time."""
    await suspects(stores, a_run(1), a_run(2))
    one, two = stores.leases("one"), stores.leases("two")
    await stores.advance(SUSPECT_WAIT_SECONDS)
    await add(stores, a_run(3), a_run(4))
    assert {run.run_id for run in await one.claim(SERVED, 10)} == {"run_3", "run_4", "run_1"}
    assert await one.claim(SERVED, 10) == []
    assert [run.run_id for run in await two.claim(SERVED, 10)] == ["run_2"]


async def test_suspect_run_with_progress_frees_the_place_of_the_next(stores: Stores) -> None:
    await suspects(stores, a_run(1), a_run(2))
    await stores.advance(SUSPECT_WAIT_SECONDS)
    leases = stores.leases("one")
    [first] = await leases.claim(SERVED, 10)
    await stores.commits.store(progress_entry(first.with_state(takeovers=0), []))
    assert [run.run_id for run in await leases.claim(SERVED, 10)] == ["run_2"]
