"""The run queue gives runs their threads when their turn comes, without polling for it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest_asyncio
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.runs.pending_runs import MemoryPendingRuns
from graphmesh_orchestrator.runs.run import Multitask
from graphmesh_orchestrator.runs.runs import MemoryRuns
from graphmesh_orchestrator.worker.run_queue import RunQueue

from tests.contract.runs import a_run

NEVER = 3600.0
"""Seconds: an interval that no test waits for."""


class CountedRuns(MemoryPendingRuns):
    """Pending runs that count polls, and fail on request."""

    def __init__(self, tables: MemoryTables) -> None:
        super().__init__(tables)
        self.polls = self.failures = 0

    async def next_due(self) -> float | None:
        self.polls += 1
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable()
        return await super().next_due()


class RunningQueue:
    """A queue whose task runs."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.runs, self.pending = MemoryRuns(self.tables), CountedRuns(self.tables)
        self.admitted = asyncio.Event()
        self.queue = RunQueue(self.pending, self.admitted.set, PollTimer(Notifier(is_alone=True), NEVER))

    async def add(self, number: int, due: float = 0) -> None:
        await self.runs.add(a_run(f"run_{number}", thread_id="th", multitask=Multitask.ENQUEUE, due=due), "worker")

    def end(self, run_id: str) -> None:
        self.tables.runs[run_id].update({"status": "success", "holds_thread": False})

    def holders(self) -> list[str]:
        return [row["run_id"] for row in self.tables.runs.values() if row["holds_thread"]]

    async def until_admitted(self) -> None:
        async with asyncio.timeout(60):
            await self.admitted.wait()
        self.admitted.clear()


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningQueue]:
    running = RunningQueue()
    task = asyncio.create_task(running.queue.run())
    await asyncio.sleep(0)
    yield running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_next_run_is_admitted_when_its_thread_is_free(running: RunningQueue) -> None:
    for number in (1, 2):
        await running.add(number)
    running.queue.added()
    running.end("run_1")
    running.queue.thread_freed()
    await running.until_admitted()
    assert running.holders() == ["run_2"]


async def test_free_threads_do_not_matter_while_no_run_waits(running: RunningQueue) -> None:
    """So that most runs, which wait for nothing, cost no poll when they end."""
    for _ in range(100):
        running.queue.thread_freed()
        await asyncio.sleep(0)
    assert running.pending.polls == 1


async def test_delayed_run_is_admitted_when_it_is_due(running: RunningQueue) -> None:
    await running.add(1, due=datetime.now(UTC).timestamp() + 0.05)
    running.queue.added()
    await running.until_admitted()
    assert running.holders() == ["run_1"]


async def test_unavailable_database_is_polled_again(running: RunningQueue) -> None:
    await running.add(1)
    await running.add(2)
    running.end("run_1")
    running.pending.failures = 1
    running.queue.added()
    await running.until_admitted()
    assert running.holders() == ["run_2"]
