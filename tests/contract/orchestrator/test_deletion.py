"""Deletion in every store: threads and runs are deleted, pruned and expired with all that belongs to them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import NotFound
from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_orchestrator.checkpoints import Entry
from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.threads.retention import Retention
from graphmesh_orchestrator.threads.thread import Deleted, ThreadStatus
from graphmesh_orchestrator.threads.threads import NEVER_EXPIRES
from graphmesh_orchestrator.webhooks.delivery import Delivery
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from tests.contract import runs
from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import WORKER, Stores, a_question
from tests.contract.stored_events import custom, rows_of

LETTERS = ["a", "b", "c", "d", "e"]
DAY = timedelta(days=1)
Graph = CompiledStateGraph[Any, Any, Any, Any]


def asking(saver: BaseCheckpointSaver[Any]) -> Graph:
    """Build a graph that interrupts at once."""
    builder = StateGraph(kit.State)
    builder.add_node("ask", lambda state: {"answer": interrupt("sure?")})
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


def at(thread_id: str) -> RunnableConfig:
    """Return the config of a thread's checkpoints."""
    return {"configurable": {"thread_id": checkpoint_thread("acme", thread_id)}}


async def with_state(stores: Stores, thread_id: str = "th", graph: Any = kit.chain, **values: Any) -> None:
    """Create a thread, and run a graph on it."""
    await stores.threads.create("acme", thread_id, "chain", {}, 0)
    await graph(stores.saver).ainvoke(values or {"log": []}, at(thread_id), durability="sync")


async def log(stores: Stores, thread_id: str = "th") -> Any:
    return (await kit.chain(stores.saver).aget_state(at(thread_id))).values.get("log")


async def checkpoint_count(stores: Stores, thread_id: str) -> int:
    return len([found async for found in stores.saver.alist(at(thread_id))])


async def set_unused_for(stores: Stores, thread_id: str, age: timedelta) -> None:
    await stores.set_last_use(thread_id, datetime.now(UTC) - age)


async def add_run(
    stores: Stores, thread_id: str, status: str = "running", ago: timedelta = timedelta(), **fields: Any
) -> Run:
    """Add a run with an event, which has this status, and was created and ended so long ago."""
    moment = datetime.now(UTC) - ago
    given: dict[str, Any] = {"run_id": f"run_{thread_id}_{status}", "graph": "chain", **fields}
    run = await stores.runs.add(runs.a_run(thread_id=thread_id, created=moment, **given), WORKER)
    await stores.commits.store(Entry(events=rows_of(run.run_id, 9, moment, custom({}))))
    if status == "interrupted":
        await stores.park(run, a_question(run.run_id))
    elif status not in ("running", "pending"):
        await stores.end(run.run_id, status=RunStatus(status), ended=moment)
    return run


async def announce(stores: Stores, run: Run) -> None:
    """Add the pending delivery of a run's end."""
    url, created = "https://hooks.example.com", run.request.created
    await stores.add_deliveries(Delivery(f"whk_{run.run_id}", "acme", run.run_id, url, "hooks.example.com", created, 0))


async def remaining(stores: Stores) -> set[str]:
    return {thread.thread_id for thread in await stores.threads.find("acme", "", None, None, 99)}


@pytest.mark.parametrize("status", ["running", "interrupted"])
async def test_thread_that_a_run_holds_is_not_deleted(stores: Stores, status: str) -> None:
    """Neither deleted nor pruned nor expired; that of a parked run neither."""
    await with_state(stores)
    run = await add_run(stores, "th", status)
    await set_unused_for(stores, "th", 9 * DAY)
    before = await stores.counts()
    with pytest.raises(ThreadBusy, match=run.run_id):
        await stores.deletion.delete("acme", "th")
    for delete in (True, False):
        assert await stores.deletion.prune("acme", timedelta(), delete, dry_run=False) == Deleted()
    assert await stores.deletion_with(default_ttl=1).expire() == 0
    assert await stores.counts() == before


async def test_thread_that_a_run_waits_for_is_not_deleted(stores: Stores) -> None:
    await add_run(stores, "th", "pending", run_id="delayed", due=datetime.now(UTC).timestamp() + 3600)
    with pytest.raises(ThreadBusy, match="delayed"):
        await stores.deletion.delete("acme", "th")


async def test_concurrent_run_and_deletion_exclude_each_other(stores: Stores) -> None:
    """Either the run is first, and the deletion is refused, or the run has a new thread."""
    for number in range(10):
        await with_state(stores, f"th_{number}")
        outcomes = await asyncio.gather(
            stores.deletion.delete("acme", f"th_{number}"), add_run(stores, f"th_{number}"), return_exceptions=True
        )
        assert isinstance(outcomes[1], Run)
        assert isinstance(outcomes[0], Deleted | ThreadBusy)
        assert (await stores.threads.get("acme", f"th_{number}")).status is ThreadStatus.BUSY
        assert (await log(stores, f"th_{number}")) == (LETTERS if isinstance(outcomes[0], ThreadBusy) else None)


async def test_deleted_thread_leaves_nothing(stores: Stores) -> None:
    """Its runs, events, interrupts, deliveries, states and tasks' writes are deleted; another thread is unchanged."""
    await with_state(stores, "th_1", asking)
    before = await stores.counts()
    await with_state(stores, "th_2", kit.interrupting, log=[], document=kit.DOCUMENT)
    run = await stores.runs.add(runs.a_run("run_2", thread_id="th_2", graph="chain"), WORKER)
    await stores.park(run, a_question("run_2"))
    await stores.interrupts.answer("acme", "run_2", {"a": 1}, "ana")
    await stores.leases(WORKER).claim([("chain", 1)], 1)
    await stores.end("run_2")
    await announce(stores, run)
    deleted = await stores.deletion.delete("acme", "th_2")
    assert (deleted.threads, deleted.runs, deleted.checkpoints > 2) == (1, 1, True)
    assert await stores.counts() == before
    with pytest.raises(NotFound):
        await stores.runs.get("acme", "run_2")
    with pytest.raises(NotFound):
        await stores.deletion.delete("acme", "th_2")


async def test_deletion_is_limited_to_the_tenant(stores: Stores) -> None:
    await with_state(stores)
    await stores.threads.create("other", "th", "chain", {}, 0)
    await stores.deletion.delete("other", "th")
    with pytest.raises(NotFound):
        await stores.deletion.delete("other", "th")
    assert await stores.deletion.prune("other", timedelta(), delete=True, dry_run=False) == Deleted()
    assert await log(stores) == LETTERS


async def test_pruning_keeps_the_newest_state_of_each_thread(stores: Stores) -> None:
    """Of threads that have not been used for a given time. A dry run returns the same numbers."""
    for number in range(25):
        await with_state(stores, f"th_{number}")
        await set_unused_for(stores, f"th_{number}", number * DAY)
    newest = await kit.chain(stores.saver).aget_state(at("th_24"))
    expected = Deleted(threads=5, checkpoints=30)
    for dry_run in (True, False):
        assert await stores.deletion.prune("acme", 20 * DAY, delete=False, dry_run=dry_run) == expected
    assert await stores.deletion.prune("acme", 20 * DAY, delete=False, dry_run=False) == Deleted()
    assert await checkpoint_count(stores, "th_24") == 1
    assert (await kit.chain(stores.saver).aget_state(at("th_24"))).values == newest.values
    await kit.chain(stores.saver).aupdate_state(at("th_24"), {"log": ["f"]}, "e")
    assert await log(stores, "th_24") == [*LETTERS, "f"]
    assert await checkpoint_count(stores, "th_19") == 7


async def test_pruning_keeps_the_newest_state_of_each_namespace(stores: Stores) -> None:
    """A subgraph that waits for an answer has a state of its own."""
    await with_state(stores, graph=kit.interrupting)
    before = await checkpoint_count(stores, "th")
    deleted = await stores.deletion.prune("acme", timedelta(), delete=False, dry_run=False)
    assert deleted == Deleted(threads=1, checkpoints=before - 2)
    assert await checkpoint_count(stores, "th") == 2


async def test_pruning_deletes_threads_with_their_runs(stores: Stores) -> None:
    """Those of other tenants, and those on which a run has ended since, stay."""
    for number in range(25):
        await with_state(stores, f"th_{number}")
        await add_run(stores, f"th_{number}", "success", ago=9 * DAY)
        await set_unused_for(stores, f"th_{number}", 9 * DAY)
    await add_run(stores, "fresh", "success", ago=DAY)
    await set_unused_for(stores, "fresh", 9 * DAY)
    await stores.threads.create("other", "theirs", "", {}, 0)
    await set_unused_for(stores, "theirs", 9 * DAY)
    expected = Deleted(threads=25, runs=25, checkpoints=175)
    for dry_run in (True, False):
        assert await stores.deletion.prune("acme", 8 * DAY, delete=True, dry_run=dry_run) == expected
    assert await remaining(stores) == {"fresh"}
    counts = await stores.counts()
    assert [counts[name] for name in ("threads", "runs", "run_events", "checkpoints", "task_writes")] == [2, 1, 2, 0, 0]


async def test_threads_past_their_time_to_live_expire(stores: Stores) -> None:
    """By their own time to live, or that of the settings, since their last use, which is when their last run ended."""
    expired = {"own": (60, 2), "default": (0, 6)}
    kept = {"own_young": (600, 2), "default_young": (0, 4), "never": (NEVER_EXPIRES, 99), "ended_late": (0, 9)}
    for name, (ttl, minutes) in {**expired, **kept}.items():
        await stores.threads.create("acme", name, "", {}, ttl)
        await set_unused_for(stores, name, timedelta(minutes=minutes))
    await add_run(stores, "ended_late", "success", ago=timedelta(minutes=1))
    await set_unused_for(stores, "ended_late", timedelta(minutes=9))
    await add_run(stores, "parked", "interrupted", ago=9 * DAY)
    await add_run(stores, "waiting", "success", ago=9 * DAY)
    due = datetime.now(UTC).timestamp() + 99
    await add_run(stores, "waiting", "pending", ago=9 * DAY, run_id="later", due=due)
    await Retention(stores.deletion_with(default_ttl=300), stores.store).poll()
    assert await remaining(stores) == {*kept, "parked", "waiting"}


async def test_concurrent_processes_share_what_expires(stores: Stores) -> None:
    """Each thread is deleted by one of them."""
    for number in range(45):
        await stores.threads.create("acme", f"th_{number}", "", {}, 1)
        await set_unused_for(stores, f"th_{number}", DAY)
    total = 0
    while any(deleted := await asyncio.gather(*(stores.deletion.expire() for _ in range(3)))):
        total += sum(deleted)
    assert total == 45
    assert (await stores.counts())["threads"] == 0


async def test_old_runs_are_deleted_and_their_thread_stays(stores: Stores) -> None:
    """With their events. Younger ones, those that have not ended, and those with a pending delivery stay."""
    await with_state(stores)
    for number, status in enumerate(("success", "error", "timeout")):
        await add_run(stores, "th", status, ago=(9 - number) * DAY)
    announced = await add_run(stores, "th", "success", ago=9 * DAY, run_id="announced")
    await announce(stores, announced)
    parked = await add_run(stores, "th", "interrupted", ago=9 * DAY)
    events = (await stores.counts())["run_events"]
    await Retention(stores.deletion, stores.store, run_seconds=7.5 * 86400).poll()
    left = await stores.runs.find("acme", {}, None, 10)
    assert {run.run_id for run in left} == {"run_th_timeout", "announced", parked.run_id}
    assert (await stores.counts())["run_events"] == events - 2 * 2
    assert await log(stores) == LETTERS
