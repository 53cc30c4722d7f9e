"""Runs in every store: how they are created, found and cancelled, and which of them hold their thread."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.checkpoints import Entry
from graphmesh_orchestrator.errors import QueueFull, RequestIdReused, ThreadBusy, WrongGraph
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask, Run, RunProgress
from graphmesh_orchestrator.runs.runs import PAGE_BYTES

from tests.contract import runs
from tests.contract.orchestrator.stores import NOW, WORKER, Stores
from tests.contract.stored_events import custom, events_in, parsed, rows_of

PREEMPTING = [Multitask.INTERRUPT, Multitask.ROLLBACK]


def a_run(number: int, thread_id: str | None = "th", **fields: Any) -> Run:
    return runs.a_run(f"run_{number}", thread_id=thread_id, created=NOW + timedelta(seconds=number), **fields)


async def add(stores: Stores, *added: Run) -> list[Run]:
    """Add runs, which `WORKER` holds if they begin at once."""
    return [await stores.runs.add(run, WORKER) for run in added]


@pytest.mark.parametrize("strategy", list(Multitask))
async def test_first_run_holds_its_thread(stores: Stores, strategy: Multitask) -> None:
    """Its worker holds it from the transaction that stores it: no other worker can claim it in between."""
    [run] = await add(stores, a_run(1, multitask=strategy))
    assert (run.status, run.state.holds_thread, run.state.epoch) == (RunStatus.RUNNING, True, 1)
    assert await stores.claimed() == []
    assert await stores.leases(WORKER).renew({"run_1": run.state.epoch}) == {"run_1": ""}


async def test_run_without_worker_can_be_claimed(stores: Stores) -> None:
    run = await stores.runs.add(a_run(1), "")
    assert (run.status, run.state.holds_thread, run.state.epoch) == (RunStatus.PENDING, True, 0)
    assert await stores.claimed() == ["run_1"]


@pytest.mark.parametrize("roles", [None, [], ["support_agent", "auditor"]])
async def test_stored_run_is_returned_as_it_was_added(stores: Stores, roles: list[str] | None) -> None:
    hook = "https://hooks.example.com"
    [run] = await add(stores, a_run(1, labels={"team": "ink"}, webhook_url=hook, roles=roles, client="web"))
    assert await stores.runs.get("acme", "run_1") == run
    assert (run.identity.roles, run.identity.client) == (roles, "web")


async def test_run_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    await add(stores, a_run(1))
    with pytest.raises(NotFound):
        await stores.runs.get("other", "run_1")
    with pytest.raises(NotFound):
        await stores.runs.request_cancellation("other", "run_1", "mine")
    assert await stores.runs.find("other", {}, None, 10) == []
    assert await stores.cancelled() == set()


async def test_progress_lacks_runs_that_do_not_exist(stores: Stores) -> None:
    [run] = await add(stores, a_run(1))
    await stores.park(run)
    assert await stores.runs.progress(["run_1", "run_2"]) == {"run_1": RunProgress(RunStatus.INTERRUPTED, 1)}


async def test_find_returns_pages_of_matching_runs_the_newest_first(stores: Stores) -> None:
    await add(stores, *(a_run(number, None) for number in range(5)), a_run(5, None, graph="ship"))
    found: list[str] = []
    before: tuple[datetime, str] | None = None
    while page := await stores.runs.find("acme", {"graph": "pay", "status": "running"}, before, 2):
        found += [run.run_id for run in page]
        before = (page[-1].request.created, page[-1].run_id)
    assert found == [f"run_{number}" for number in reversed(range(5))]
    assert await stores.runs.find("acme", {"status": "error"}, None, 10) == []


async def numbers(stores: Stores, after_seq: int, limit: int, run_id: str = "run_1") -> list[int]:
    return [event.seq for event in events_in(await stores.runs.events(run_id, after_seq, limit))]


async def test_events_are_read_in_order_after_a_seq(stores: Stores) -> None:
    """In batches, as they were stored; also from the middle of one on."""
    await add(stores, a_run(1), a_run(3, "else"))
    rows = [*rows_of("run_1", 1, NOW, *[custom({})] * 3), *rows_of("run_1", 4, NOW, *[custom({})] * 4)]
    rows += [*rows_of("run_1", 8, NOW, custom({})), *rows_of("run_3", 1, NOW, custom({}))]
    await stores.commits.store(Entry(events=rows[::-1]))
    for after_seq in range(9):
        found = (await stores.runs.events("run_1", after_seq, 10)).batches
        assert [event.seq for batch in found for event in parsed(batch.elements)] == list(range(after_seq + 1, 9))
    assert await numbers(stores, 1, 1) == [2, 3]
    assert await numbers(stores, 1, 2) == [2, 3, 4, 5, 6, 7]
    assert await numbers(stores, 0, 10, "run_2") == []


@pytest.mark.parametrize("size", [PAGE_BYTES // 3, PAGE_BYTES, 2 * PAGE_BYTES])
async def test_big_events_are_read_a_few_at_a_time(stores: Stores, size: int) -> None:
    """So that a client that follows a run needs little memory, even where they are stored at once."""
    await add(stores, a_run(1))
    data = {"text": "\u20ac" * (size // 3)}
    await stores.commits.store(Entry(events=rows_of("run_1", 1, NOW, *[custom(data)] * 5)))
    pages = [events_in(await stores.runs.events("run_1", 0, 10))]
    while pages[-1]:
        pages.append(events_in(await stores.runs.events("run_1", pages[-1][-1].seq, 10)))
    assert [(event.seq, event.data) for page in pages for event in page] == [(seq, data) for seq in range(1, 6)]
    assert {len(page) for page in pages[:-2]} <= {1, 2}


async def test_events_are_read_with_the_progress_of_their_run(stores: Stores) -> None:
    """In one query, also where there are none; so a reader knows whether there are more, or will be."""
    [run] = await add(stores, a_run(1))
    assert (await stores.runs.events("run_1", 0, 10)).progress == RunProgress(run.status, 0)
    await stores.commits.store(Entry(events=rows_of("run_1", 1, NOW, custom({}))))
    page = await stores.runs.events("run_1", 0, 10)
    assert (len(page.batches), page.progress) == (1, RunProgress(run.status, 0))
    assert (await stores.runs.events("run_9", 0, 10)).progress is None


async def test_first_reason_of_a_cancellation_is_kept(stores: Stores) -> None:
    await add(stores, a_run(1))
    for reason in ("first", "second"):
        run = await stores.runs.request_cancellation("acme", "run_1", reason)
        assert (run.state.cancel_reason, run.status) == ("first", RunStatus.RUNNING)


async def test_ended_run_is_not_cancelled(stores: Stores) -> None:
    await add(stores, a_run(1))
    await stores.end("run_1")
    assert (await stores.runs.request_cancellation("acme", "run_1", "late")).state.cancel_reason == ""


async def test_cancelled_parked_run_can_be_claimed(stores: Stores) -> None:
    [run] = await add(stores, a_run(1))
    await stores.park(run)
    assert (await stores.runs.request_cancellation("acme", "run_1", "over")).status is RunStatus.PENDING
    assert await stores.claimed() == ["run_1"]


@pytest.mark.parametrize("strategy", PREEMPTING)
async def test_preempting_run_cancels_the_runs_before_it(stores: Stores, strategy: Multitask) -> None:
    """The run that holds the thread and those that wait for it, on no other thread. A rollback also records whose
    writes are to be deleted."""
    await add(stores, a_run(1), a_run(2, multitask=Multitask.ENQUEUE), a_run(3, "else"))
    [run] = await add(stores, a_run(4, multitask=strategy))
    assert await stores.cancelled() == {"run_1", "run_2"}
    assert await stores.runs.rolled_back(run) == (["run_1"] if strategy is Multitask.ROLLBACK else [])
    assert await stores.claimed() == ["run_2"]
    await stores.end("run_1", "run_2")
    assert (await stores.pending.admit(), await stores.claimed()) == (1, ["run_4"])


@pytest.mark.parametrize("strategy", PREEMPTING)
async def test_delayed_preempting_run_cancels_nothing_before_it_is_due(stores: Stores, strategy: Multitask) -> None:
    await add(stores, a_run(1))
    due = datetime.now(UTC).timestamp() + 3600
    [delayed] = await add(stores, a_run(2, multitask=strategy, due=due))
    await stores.pending.admit()
    assert await stores.cancelled() == set()
    assert await stores.runs.rolled_back(delayed) == []
    await stores.advance(3601)
    await stores.pending.admit()
    assert await stores.cancelled() == {"run_1"}
    assert await stores.runs.rolled_back(delayed) == (["run_1"] if strategy is Multitask.ROLLBACK else [])


async def test_reverted_run_is_no_longer_rolled_back(stores: Stores) -> None:
    [run, *_] = await add(stores, a_run(1), a_run(2, multitask=Multitask.ROLLBACK))
    await stores.runs.mark_reverted(["run_1", "run_3"])
    assert await stores.runs.rolled_back(run) == []


async def test_preempted_parked_run_can_be_claimed(stores: Stores) -> None:
    """A worker has to end it. Until then it holds the thread."""
    [run] = await add(stores, a_run(1))
    await stores.park(run)
    with pytest.raises(ThreadBusy):
        await add(stores, a_run(2))
    await add(stores, a_run(3, multitask=Multitask.INTERRUPT))
    assert await stores.claimed() == ["run_1"]


async def test_concurrent_requests_with_one_id_create_one_run(stores: Stores) -> None:
    """Each of them has another run id. A request with another body is refused."""
    await asyncio.gather(*(stores.runs.find("acme", {}, None, 1) for _ in range(20)))  # all connections are open
    same = [a_run(number, request_id="r", fingerprint=b"1") for number in range(20)]
    added = await asyncio.gather(*(stores.runs.add(run, WORKER) for run in same))
    assert len({run.run_id for run in added}) == 1
    with pytest.raises(RequestIdReused):
        await add(stores, a_run(99, request_id="r", fingerprint=b"2"))


async def test_request_id_is_its_tenants_own(stores: Stores) -> None:
    [mine, theirs] = await add(stores, *(a_run(n, None, tenant=f"t{n}", request_id="r") for n in range(2)))
    assert (mine.run_id, theirs.run_id) == ("run_0", "run_1")


async def test_concurrent_runs_hold_the_thread_one_at_a_time(stores: Stores) -> None:
    """One gets the thread. The others are refused or queued, as their strategy is."""
    first = [stores.runs.add(a_run(number), WORKER) for number in range(10)]
    outcomes = await asyncio.gather(*first, return_exceptions=True)
    assert _count(outcomes, Run) == 1
    assert _count(outcomes, ThreadBusy) == 9
    queued = [a_run(number, multitask=Multitask.ENQUEUE) for number in range(20, 30)]
    added = await asyncio.gather(*(stores.runs.add(run, WORKER) for run in queued))
    assert not any(run.state.holds_thread for run in added)


def _count(outcomes: Sequence[object], kind: type) -> int:
    return sum(isinstance(outcome, kind) for outcome in outcomes)


async def test_thread_is_bound_to_one_graph(stores: Stores) -> None:
    """Nothing of a run of another graph is stored."""
    await add(stores, a_run(1))
    await stores.end("run_1")
    with pytest.raises(WrongGraph, match="pay"):
        await add(stores, a_run(2, graph="ship"))
    assert len(await stores.runs.find("acme", {}, None, 10)) == 1


async def test_first_run_binds_its_thread_to_its_graph(stores: Stores) -> None:
    await stores.threads.create("acme", "th", "", {"team": "ink"}, 60)
    [run] = await add(stores, a_run(1))
    thread = await stores.threads.get("acme", "th")
    assert (run.state.holds_thread, thread.graph, thread.labels) == (True, "pay", {"team": "ink"})


async def test_pending_runs_of_a_tenant_are_bounded(stores: Stores) -> None:
    """The error has the time to retry after, and nothing of the run is stored. Other tenants are not affected, nor are
    runs that begin at once."""
    bounded = stores.runs_with(max_pending=3)
    for number in range(3):
        await bounded.add(a_run(number, f"th_{number}"), worker="")
    with pytest.raises(QueueFull) as full:
        await bounded.add(a_run(3, "th_3"), worker="")
    assert full.value.retry_after
    await bounded.add(a_run(4, tenant="other"), worker="")
    assert len(await bounded.find("acme", {}, None, 10)) == 3
    await bounded.add(a_run(5, "th_5"), worker="worker")
