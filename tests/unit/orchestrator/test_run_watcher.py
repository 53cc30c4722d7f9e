"""Runs are followed: their events as they are stored, until they end or park."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import pytest
import pytest_asyncio
from graphmesh_chassis.errors import InvalidInput, NotFound, ShuttingDown
from graphmesh_nodes.budget import Budget
from graphmesh_orchestrator.api.run_watcher import PAGE, Heartbeat, RunWatcher
from graphmesh_orchestrator.checkpoints import GroupCommit
from graphmesh_orchestrator.checkpoints.batch_writer import MemoryBatchWriter
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.leases.in_flight import InFlight, Worker
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import node_started, status_changed
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run, StreamMode
from graphmesh_orchestrator.runs.runs import PAGE_BYTES, MemoryRuns
from graphmesh_orchestrator.worker.journal import Journal

from tests.contract.runs import a_run
from tests.contract.stored_events import Event, custom, parsed


class WatchedRun:
    """A run that another process executes, whose events a test stores."""

    def __init__(self, commits: GroupCommit, tables: MemoryTables, run: Run) -> None:
        self.notifier, self.run = Notifier(is_alone=True), run
        self.watcher = RunWatcher(MemoryRuns(tables), InFlight(Worker()), self.notifier)
        self.journal = Journal(commits, self.notifier, run, Budget())

    async def events(self, after_seq: int = 0) -> list[Event]:
        return [event async for event in self.follow(after_seq) if isinstance(event, Event)]

    async def follow(
        self, after_seq: int = 0, modes: Sequence[StreamMode] = (), heartbeat: float = 15.0
    ) -> AsyncGenerator[Event | Heartbeat]:
        """Yield events and heartbeats one by one."""
        async with aclosing(self.watcher.events("acme", "run_1", after_seq, modes, heartbeat)) as found:
            async for one in found:
                for event in [one] if isinstance(one, Heartbeat) else parsed(one):
                    yield event


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[WatchedRun]:
    tables = MemoryTables()
    run = await MemoryRuns(tables).add(a_run(), "other")
    async with GroupCommit(MemoryBatchWriter(tables)).running() as commits:
        yield WatchedRun(commits, tables, run)


async def test_events_are_followed_until_the_run_ends(watched: WatchedRun) -> None:
    """Each once, whether it was stored before or while the run is followed."""
    received = asyncio.Queue[Event | Heartbeat]()

    async def follow() -> None:
        async for event in watched.follow():
            received.put_nowait(event)

    async with watched.journal as journal, asyncio.timeout(60):
        journal.add_event(node_started([]), "a")
        following = asyncio.create_task(follow())
        assert (await received.get()).seq == 1
        journal.add_event(node_started([]), "b")
        assert (await received.get()).seq == 2
        assert not following.done()
        journal.end(RunStatus.SUCCESS)
    await following
    assert (received.get_nowait().seq, received.empty()) == (3, True)


async def test_events_of_several_pages_are_read_in_order(watched: WatchedRun) -> None:
    async with watched.journal as journal:
        for _ in range(2 * PAGE):
            journal.add_event(custom({}))
        journal.end(RunStatus.SUCCESS)
    assert [event.seq for event in await watched.events(10)] == list(range(11, 2 * PAGE + 2))


async def test_big_events_are_all_read(watched: WatchedRun) -> None:
    """A page of them has fewer than was requested; the rest is read at once, although the run continues."""
    async with watched.journal as journal:
        for _ in range(7):
            journal.add_event(custom({"text": "x" * (PAGE_BYTES // 2)}), "node")
        await journal.flush()
        events = watched.follow()
        async with asyncio.timeout(60):
            assert [(await anext(events)).seq for _ in range(7)] == list(range(1, 8))
        journal.end(RunStatus.SUCCESS)
    assert [event.seq async for event in events] == [8]


async def test_heartbeats_are_sent_while_nothing_happens(watched: WatchedRun) -> None:
    """Also while all events are of other modes; they state from where a new stream continues."""
    async with watched.journal as journal, asyncio.timeout(60):
        events = watched.follow(modes=[StreamMode.CUSTOM], heartbeat=0.01)
        assert await anext(events) == Heartbeat(0)
        journal.add_event(node_started([]), "a")
        await journal.flush()
        while (found := await anext(events)) == Heartbeat(0):
            pass
        assert found == Heartbeat(1)
        journal.add_event(custom({"n": 1}), "a")
        journal.end(RunStatus.SUCCESS)
        left = [event async for event in events if isinstance(event, Event)]
        assert [event.kind for event in left] == [EventKind.CUSTOM, EventKind.STATUS]


async def test_mode_that_the_run_was_not_created_with_is_refused_by_name(watched: WatchedRun) -> None:
    events = watched.follow(modes=[StreamMode.UPDATES, StreamMode.VALUES])
    with pytest.raises(InvalidInput, match=r"stream_modes\[1\]: the run was not created with values"):
        await anext(events)


async def test_run_is_followed_until_it_parks(watched: WatchedRun) -> None:
    async with watched.journal as journal:
        waiting = asyncio.create_task(watched.watcher.stopped("acme", "run_1"))
        following = asyncio.create_task(watched.events())
        await asyncio.sleep(0)
        journal.park(status_changed(RunStatus.INTERRUPTED), [])
    assert (await waiting).status is RunStatus.INTERRUPTED
    assert [event.data["status"] for event in await following] == ["interrupted"]


async def test_run_of_another_tenant_is_not_found(watched: WatchedRun) -> None:
    with pytest.raises(NotFound):
        await watched.watcher.stopped("other", "run_1")
    with pytest.raises(NotFound):
        await anext(watched.watcher.events("other", "run_1", 0))


async def test_waiters_are_refused_when_the_process_stops(watched: WatchedRun) -> None:
    """Clients may wait at another one."""
    waiting = asyncio.create_task(watched.watcher.stopped("acme", "run_1"))
    await asyncio.sleep(0)
    watched.notifier.close()
    with pytest.raises(ShuttingDown):
        await waiting


async def test_waiters_that_come_after_that_are_refused_too(watched: WatchedRun) -> None:
    """Such as a call whose run was being created, and a stream whose client reads slowly."""
    watched.notifier.close()
    async with asyncio.timeout(30):
        with pytest.raises(ShuttingDown):
            await watched.watcher.stopped("acme", "run_1")
        with pytest.raises(ShuttingDown):
            await watched.events()
