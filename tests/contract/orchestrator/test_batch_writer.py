"""The batch writer in every store: entries are stored under their runs' epochs, once, however often they are written.

Checkpoints are not part of this suite: memory has them in a saver, and SQL in `tests/contract/checkpoints`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import Fenced
from graphmesh_chassis.sqlite_connection import SqliteConnection
from graphmesh_orchestrator.checkpoints import Entry
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Accounting, Multitask, Run
from graphmesh_orchestrator.worker.progress import progress_entry

from tests.contract import runs
from tests.contract.orchestrator.stores import NOW, SERVED, WORKER, Stores, a_question, open_sql_stores, stop_entry
from tests.contract.stored_events import custom, encoded, events_in


def a_run(number: int = 1, **fields: Any) -> Run:
    return runs.a_run(f"run_{number}", thread_id="th", created=NOW + timedelta(seconds=number), **fields)


def progress(run: Run, seq: int, **state: Any) -> Entry:
    """Return the entry of the event `seq`, after which the run has this state."""
    changed = replace(run.with_state(**state), accounting=Accounting(seq))
    return progress_entry(changed, encoded(NOW, custom({"seq": seq})))


async def test_fenced_worker_stores_nothing(stores: Stores) -> None:
    """Neither events nor the status of a past epoch are stored, and the worker gets FENCED; the next owner's are."""
    old = await stores.begun(a_run(), "one")
    await stores.commits.store(progress(old, 1))
    await stores.advance(LEASE_SECONDS + 1)
    [new] = await stores.leases("two").claim(SERVED, 1)
    with pytest.raises(Fenced):
        await stores.commits.store(progress(old, 2, status=RunStatus.SUCCESS))
    assert [event.data for event in events_in(await stores.runs.events("run_1", 0, 10))] == [{"seq": 1}]
    assert (await stores.runs.get("acme", "run_1")).status is RunStatus.RUNNING
    await stores.commits.store(progress(new, 2))
    assert [event.seq for event in events_in(await stores.runs.events("run_1", 0, 10))] == [1, 2]


async def test_entry_of_a_run_that_does_not_exist_is_fenced(stores: Stores) -> None:
    with pytest.raises(Fenced):
        await stores.commits.store(progress(a_run(epoch=1), 1))


async def test_fenced_entry_does_not_affect_others(stores: Stores) -> None:
    run = await stores.begun(a_run())
    fenced, stored = await stores.writer.write([progress(a_run(2, epoch=1), 1), progress(run, 1)])
    assert (type(fenced), stored) == (Fenced, None)
    assert [event.data for event in events_in(await stores.runs.events("run_1", 0, 10))] == [{"seq": 1}]


async def test_run_and_its_entry_take_few_switches_to_the_thread_of_sqlite(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that other tenants keep busy delays each switch."""
    switches: list[Any] = []
    in_thread = SqliteConnection._in_thread

    def counted(connection: SqliteConnection, before: Any, function: Any, *arguments: Any) -> Any:
        switches.append(function)
        return in_thread(connection, before, function, *arguments)

    async with open_sql_stores(migrated_sqlite_url, 0.0) as stores:
        await stores.begun(a_run(1))
        monkeypatch.setattr(SqliteConnection, "_in_thread", counted)
        run = await stores.runs.add(runs.a_run("run_2"), "one")
        assert len(switches) == 1
        assert await stores.writer.write([progress(run, 1)]) == [None]
        assert len(switches) == 3


async def test_batch_can_be_written_again(stores: Stores) -> None:
    """Where the outcome of the commit is lost: the same events change nothing."""
    run = await stores.begun(a_run())
    stores.writer.lose_outcomes(1)
    await stores.commits.store(progress(run, 1))
    assert len(stores.writer.batches) == 2
    assert [event.data for event in events_in(await stores.runs.events("run_1", 0, 10))] == [{"seq": 1}]


async def test_progress_renews_the_lease(stores: Stores) -> None:
    run = await stores.begun(a_run())
    await stores.advance(LEASE_SECONDS / 2)
    aged = await stores.lease_expires("run_1")
    await stores.commits.store(progress(run, 1))
    assert await stores.lease_expires("run_1") >= aged + LEASE_SECONDS / 2


async def test_progress_is_what_the_run_has_used(stores: Stores) -> None:
    run = await stores.begun(a_run())
    await stores.commits.store(progress(run, 7, started=NOW, graph_version=3, versions={"prompts": "p"}))
    stored = await stores.runs.get("acme", "run_1")
    assert (stored.state.started, stored.state.graph_version, stored.state.versions) == (NOW, 3, {"prompts": "p"})
    assert stored.accounting.last_seq == 7


async def test_run_that_is_answered_as_it_parks_resumes(stores: Stores) -> None:
    """The park is committed, and its outcome lost, so it is stored again, after the answer: which must not park the
    run on answered interrupts."""
    run = await stores.runs.add(a_run(), WORKER)

    async def answer() -> None:
        await stores.interrupts.answer("acme", "run_1", {"a": "yes"}, "ana")

    stores.writer.after_next(answer)
    stores.writer.lose_outcomes(1)
    await stores.park(run, a_question("run_1"))
    assert len(stores.writer.batches) == 2
    [claimed] = await stores.leases("other").claim(SERVED, 10)
    assert (claimed.run_id, claimed.state.epoch, claimed.state.parked) == ("run_1", 2, None)
    assert await stores.interrupts.answers("run_1") == {"a": "yes"}


async def cancelled_by_a_client(stores: Stores) -> None:
    await stores.runs.request_cancellation("acme", "run_1", "not wanted any more")


async def preempted_by_the_next_run(stores: Stores) -> None:
    await stores.runs.add(a_run(2, multitask=Multitask.INTERRUPT), WORKER)


@pytest.mark.parametrize("cancel", [cancelled_by_a_client, preempted_by_the_next_run])
async def test_run_that_is_cancelled_as_it_parks_is_ended(
    stores: Stores, cancel: Callable[[Stores], Awaitable[None]]
) -> None:
    """Its worker does not know of the cancellation when it stores the park, so another worker has to claim the run."""
    run = await stores.runs.add(a_run(), WORKER)
    await cancel(stores)
    await stores.park(run, a_question("run_1"))
    [claimed] = await stores.leases("other").claim(SERVED, 10, dead={WORKER})
    assert (claimed.run_id, claimed.state.epoch, bool(claimed.state.cancel_reason)) == ("run_1", 2, True)


async def test_interrupt_that_is_stored_keeps_its_answer(stores: Stores) -> None:
    """A graph with two questions parks twice on the one that is still open."""
    await stores.park(await stores.begun(a_run()), a_question("run_1", "a"), a_question("run_1", "b"))
    await stores.interrupts.answer("acme", "run_1", {"a": 1, "b": 2}, "ana")
    [again] = await stores.leases("other").claim(SERVED, 1)
    await stores.park(again, a_question("run_1", "a"), a_question("run_1", "c"))
    assert [found.interrupt_id for found in (await stores.interrupts.open(["run_1"]))["run_1"]] == ["c"]
    assert await stores.interrupts.answers("run_1") == {"a": 1, "b": 2}


async def test_expiry_is_stamped_by_the_clock_of_the_store(stores: Stores) -> None:
    """When the park is committed: neither the worker's clock nor the time of the interrupt counts."""
    await stores.advance(86400)
    row = a_question("run_1", approval_id="apr", approval=None, ttl=60.0)
    await stores.park(await stores.begun(a_run()), row)
    assert await stores.approvals.next_expiry() == pytest.approx(60, abs=20)
    assert await stores.expires("run_1", "a") == pytest.approx(await stores.now() + 60, abs=20)


@pytest.mark.parametrize("ttl", [0.0, -1.0])
async def test_interrupt_without_time_to_live_never_expires(stores: Stores, ttl: float) -> None:
    await stores.park(await stores.begun(a_run()), a_question("run_1", ttl=ttl))
    assert await stores.approvals.next_expiry() is None


async def test_entry_without_a_run_is_stored_unfenced(stores: Stores) -> None:
    run = await stores.begun(a_run())
    entry = stop_entry(run.with_state(status=RunStatus.SUCCESS, ended=datetime.now(UTC), holds_thread=False))
    await stores.commits.store(Entry(events=entry.events))
    assert (await stores.runs.get("acme", "run_1")).status is RunStatus.RUNNING
    assert len(events_in(await stores.runs.events("run_1", 0, 10))) == 1
