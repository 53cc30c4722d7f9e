"""The stores of an orchestrator over each of their implementations, so that one suite runs over all of them."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.assistants.assistants import Assistants, MemoryAssistants
from graphmesh_orchestrator.assistants.assistants_sql import SqlAssistants
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.budgets.daily_usage import DailyUsage, MemoryDailyUsage
from graphmesh_orchestrator.budgets.daily_usage_sql import SqlDailyUsage
from graphmesh_orchestrator.checkpoints import Entry, GroupCommit, LogSaver, SqlBatchWriter
from graphmesh_orchestrator.checkpoints.batch_writer import MemoryBatchWriter
from graphmesh_orchestrator.checkpoints.group_commit import DEFER_SECONDS
from graphmesh_orchestrator.checkpoints.memory_saver import MemorySaver
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.clock import seconds_now
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import InterruptRow
from graphmesh_orchestrator.db.tables import artifacts, deliveries, events, feedback, interrupts, runs, threads
from graphmesh_orchestrator.interrupts.approvals import Approvals, MemoryApprovals
from graphmesh_orchestrator.interrupts.approvals_sql import SqlApprovals
from graphmesh_orchestrator.interrupts.interrupts import PENDING, Interrupts, MemoryInterrupts
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.leases import MAX_TAKEOVERS, Leases, MemoryLeases
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import status_changed
from graphmesh_orchestrator.runs.feedback import Feedbacks, MemoryFeedbacks
from graphmesh_orchestrator.runs.feedback_sql import SqlFeedbacks
from graphmesh_orchestrator.runs.pending_runs import MemoryPendingRuns, PendingRuns
from graphmesh_orchestrator.runs.pending_runs_sql import SqlPendingRuns
from graphmesh_orchestrator.runs.run import Accounting, Run
from graphmesh_orchestrator.runs.runs import MemoryRuns, Runs
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.schedules.schedules import MemorySchedules, Schedules
from graphmesh_orchestrator.schedules.schedules_sql import SqlSchedules
from graphmesh_orchestrator.schedules.tables import schedules
from graphmesh_orchestrator.store.items import MemoryStore, Store
from graphmesh_orchestrator.store.items_sql import SqlStore
from graphmesh_orchestrator.store.tables import store_items
from graphmesh_orchestrator.threads.deletion import Deletion, MemoryDeletion
from graphmesh_orchestrator.threads.deletion_sql import SqlDeletion
from graphmesh_orchestrator.threads.threads import MemoryThreads, Threads
from graphmesh_orchestrator.threads.threads_sql import SqlThreads
from graphmesh_orchestrator.webhooks.deliveries import Deliveries, MemoryDeliveries, delivery_row
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries
from graphmesh_orchestrator.webhooks.delivery import Delivery
from graphmesh_orchestrator.worker.progress import progress_entry
from langgraph.checkpoint.base import BaseCheckpointSaver

from tests.contract.batch_writers import ControlledWriter
from tests.contract.stored_events import encoded

TENANT = "acme"
WORKER = "worker"
SERVED = [("pay", 1)]
"""The graph and the version of the runs of `a_run`."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Stores(ABC):
    """The ports, and changes that a suite needs on each implementation."""

    runs: Runs
    pending: PendingRuns
    feedbacks: Feedbacks
    usage: DailyUsage
    interrupts: Interrupts
    approvals: Approvals
    threads: Threads
    deletion: Deletion
    deliveries: Deliveries
    store: Store
    assistants: Assistants
    schedules: Schedules
    saver: BaseCheckpointSaver[Any]
    is_shared = False
    """Whether other processes may use the database."""

    def __init__(self, writer: ControlledWriter, commits: GroupCommit) -> None:
        self.writer, self.commits = writer, commits
        """`commits` stores entries through `writer`."""

    @abstractmethod
    def runs_with(self, *, max_pending: int) -> Runs: ...

    @abstractmethod
    def assistants_with(self, *, max_assistants: int) -> Assistants: ...

    @abstractmethod
    def schedules_with(self, *, max_schedules: int) -> Schedules: ...

    @abstractmethod
    def threads_with(self, *, default_ttl: float) -> Threads: ...

    @abstractmethod
    def deletion_with(self, *, default_ttl: float) -> Deletion: ...

    @abstractmethod
    def leases(self, worker: str, max_takeovers: int = MAX_TAKEOVERS) -> Leases: ...

    @abstractmethod
    def open_leases(self, worker: str) -> AbstractAsyncContextManager[Leases]:
        """Open leases with a connection of their own, as the heartbeat's thread does."""

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Advance the clock of the database, relative to the moments that are stored."""

    @abstractmethod
    async def now(self) -> float:
        """Return the time of the database's clock, in seconds since 1970."""

    @abstractmethod
    async def expires(self, run_id: str, interrupt_id: str) -> float:
        """Return when an interrupt expires, in seconds since 1970; 0: never."""

    @abstractmethod
    async def lease_expires(self, run_id: str) -> float:
        """Return the end of a run's lease, in seconds since 1970."""

    @abstractmethod
    async def set_last_use(self, thread_id: str, used: datetime) -> None:
        """Set the last use of a thread, as far as its own row has it."""

    @abstractmethod
    async def counts(self) -> Mapping[str, int]:
        """Return the numbers of rows by table."""

    async def begun(self, run: Run, worker: str = WORKER) -> Run:
        """Add a run and return it as `worker` claims it."""
        await self.runs.add(run, "")
        [claimed] = await self.leases(worker).claim(SERVED, 1)
        assert claimed.run_id == run.run_id
        return claimed

    async def claimed(self, limit: int = 10, worker: str = "other") -> list[str]:
        """Claim runs, and return their ids."""
        return [run.run_id for run in await self.leases(worker).claim(SERVED, limit)]

    async def cancelled(self) -> set[str]:
        """Return the runs whose cancellation is requested."""
        return {run.run_id for run in await self.runs.find(TENANT, {}, None, 1000) if run.state.cancel_reason}

    async def end(
        self, *run_ids: str, status: RunStatus = RunStatus.SUCCESS, ended: datetime | None = None, tenant: str = TENANT
    ) -> None:
        """End running runs, as the last entries of their journals do."""
        for run_id in run_ids:
            run = await self.runs.get(tenant, run_id)
            moment = ended or datetime.now(UTC)
            await self.commits.store(stop_entry(run.with_state(status=status, ended=moment, holds_thread=False)))

    async def park(self, run: Run, *rows: InterruptRow, ago: timedelta = timedelta()) -> None:
        """Park a running run on interrupts, as its journal does."""
        parked = run.with_state(status=RunStatus.INTERRUPTED, parked=datetime.now(UTC) - ago)
        await self.commits.store(stop_entry(parked, rows))

    async def add_deliveries(self, *added: Delivery) -> None:
        await self.commits.store(Entry(deliveries=[delivery_row(delivery) for delivery in added]))


class MemoryStores(Stores):
    """The memory twins, over the same tables."""

    def __init__(
        self, tables: MemoryTables, clock: "ShiftedClock", writer: ControlledWriter, commits: GroupCommit
    ) -> None:
        super().__init__(writer, commits)
        self._tables, self._clock, self._memory_saver = tables, clock, MemorySaver()
        self.saver = self._memory_saver
        self.runs, self.pending = MemoryRuns(tables), MemoryPendingRuns(tables)
        self.feedbacks, self.usage = MemoryFeedbacks(tables), MemoryDailyUsage()
        self.interrupts, self.approvals = MemoryInterrupts(tables), MemoryApprovals(tables)
        self.threads, self.deletion = MemoryThreads(tables), MemoryDeletion(tables, self.saver)
        self.deliveries, self.store = MemoryDeliveries(tables), MemoryStore(tables)
        self.assistants, self.schedules = MemoryAssistants(), MemorySchedules(tables, self.runs)

    def runs_with(self, *, max_pending: int) -> Runs:
        return MemoryRuns(self._tables, max_pending)

    def assistants_with(self, *, max_assistants: int) -> Assistants:
        return MemoryAssistants(max_assistants)

    def schedules_with(self, *, max_schedules: int) -> Schedules:
        return MemorySchedules(self._tables, self.runs, max_schedules)

    def threads_with(self, *, default_ttl: float) -> Threads:
        return MemoryThreads(self._tables, default_ttl)

    def deletion_with(self, *, default_ttl: float) -> Deletion:
        return MemoryDeletion(self._tables, self.saver, default_ttl)

    def leases(self, worker: str, max_takeovers: int = MAX_TAKEOVERS) -> Leases:
        return MemoryLeases(self._tables, worker, max_takeovers)

    @asynccontextmanager
    async def open_leases(self, worker: str) -> AsyncIterator[Leases]:
        yield self.leases(worker)

    async def advance(self, seconds: float) -> None:
        self._clock.seconds += seconds

    async def now(self) -> float:
        return self._tables.clock()

    async def expires(self, run_id: str, interrupt_id: str) -> float:
        return self._tables.interrupts[run_id, interrupt_id]["expires"]

    async def lease_expires(self, run_id: str) -> float:
        return self._tables.runs[run_id]["lease_expires"]

    async def set_last_use(self, thread_id: str, used: datetime) -> None:
        for row in self._tables.threads.values():
            if row["thread_id"] == thread_id:
                row["used"] = used

    async def counts(self) -> Mapping[str, int]:
        saved = [found async for found in self.saver.alist(None)]
        return {
            "threads": len(self._tables.threads),
            "runs": len(self._tables.runs),
            "run_events": sum(map(len, self._tables.events.values())),
            "interrupts": len(self._tables.interrupts),
            "deliveries": len(self._tables.deliveries),
            "run_feedback": sum(map(len, self._tables.feedback.values())),
            "checkpoints": len(saved),
            "task_writes": sum(map(len, self._memory_saver.writes.values())),
        }


class SqlStores(Stores):
    """The stores in SQL."""

    def __init__(self, database: Database, url: str, writer: ControlledWriter, commits: GroupCommit) -> None:
        super().__init__(writer, commits)
        self.database, self.url, self.log_saver = database, url, LogSaver(database, commits)
        self.is_shared, self.saver = not database.is_sqlite, self.log_saver
        self.runs, self.pending = SqlRuns(database), SqlPendingRuns(database)
        self.feedbacks, self.usage = SqlFeedbacks(database), SqlDailyUsage(database)
        self.interrupts, self.approvals = SqlInterrupts(database), SqlApprovals(database)
        self.threads, self.deletion = SqlThreads(database), SqlDeletion(database, self.saver.serde)
        self.deliveries, self.store = SqlDeliveries(database), SqlStore(database)
        self.assistants, self.schedules = SqlAssistants(database), SqlSchedules(database, SqlRuns(database))

    def runs_with(self, *, max_pending: int) -> Runs:
        return SqlRuns(self.database, max_pending)

    def assistants_with(self, *, max_assistants: int) -> Assistants:
        return SqlAssistants(self.database, max_assistants)

    def schedules_with(self, *, max_schedules: int) -> Schedules:
        return SqlSchedules(self.database, SqlRuns(self.database), max_schedules)

    def threads_with(self, *, default_ttl: float) -> Threads:
        return SqlThreads(self.database, default_ttl)

    def deletion_with(self, *, default_ttl: float) -> Deletion:
        return SqlDeletion(self.database, self.saver.serde, default_ttl)

    def leases(self, worker: str, max_takeovers: int = MAX_TAKEOVERS) -> Leases:
        return SqlLeases(self.database, worker, max_takeovers=max_takeovers)

    @asynccontextmanager
    async def open_leases(self, worker: str) -> AsyncIterator[Leases]:
        async with open_database(self.url) as database:
            yield SqlLeases(database, worker)

    async def advance(self, seconds: float) -> None:
        """Move the stored moments back, but for 0, which has a meaning of its own."""
        async with self.database.transaction() as connection:
            for column in (
                runs.c.lease_expires,
                runs.c.due,
                interrupts.c.expires,
                deliveries.c.next_attempt,
                store_items.c.expires,
                schedules.c.next_tick,
                schedules.c.moved,
                schedules.c.claimed_until,
            ):
                moved = sa.update(column.table).where(column > 0)
                await connection.execute(moved.values({column: column - seconds}))

    async def now(self) -> float:
        [row] = await self.database.rows(sa.select(seconds_now().label("now")))
        return float(row.now)

    async def expires(self, run_id: str, interrupt_id: str) -> float:
        match = (interrupts.c.run_id == run_id, interrupts.c.interrupt_id == interrupt_id)
        [row] = await self.database.rows(sa.select(interrupts.c.expires).where(*match))
        return float(row.expires)

    async def lease_expires(self, run_id: str) -> float:
        [row] = await self.database.rows(sa.select(runs.c.lease_expires).where(runs.c.run_id == run_id))
        return float(row.lease_expires)

    async def set_last_use(self, thread_id: str, used: datetime) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(sa.update(threads).where(threads.c.thread_id == thread_id).values(used=used))

    async def counts(self) -> Mapping[str, int]:
        tables = (threads, runs, events, interrupts, deliveries, feedback, checkpoints, task_writes, artifacts)
        async with self.database.read() as connection:
            counted = [await connection.execute(sa.select(sa.func.count()).select_from(table)) for table in tables]
        return {table.name: int(rows.scalar_one()) for table, rows in zip(tables, counted, strict=True)}


class ShiftedClock:
    """The clock of memory tables: the system's, shifted by `seconds`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.seconds


@asynccontextmanager
async def open_stores(url: str, defer_seconds: float = DEFER_SECONDS) -> AsyncIterator[Stores]:
    """Open the stores over the database at `url`; over memory where it is empty."""
    if url:
        async with open_sql_stores(url, defer_seconds) as stores:
            yield stores
        return
    clock = ShiftedClock()
    tables = MemoryTables(clock)
    writer = ControlledWriter(MemoryBatchWriter(tables))
    async with GroupCommit(writer, defer_seconds=defer_seconds, retry_seconds=0.01).running() as commits:
        yield MemoryStores(tables, clock, writer, commits)


@asynccontextmanager
async def open_sql_stores(url: str, defer_seconds: float = DEFER_SECONDS) -> AsyncIterator[SqlStores]:
    """Migrate the database at `url`, and open the stores over it."""
    async with open_database(url, MIGRATIONS) as database:
        writer = ControlledWriter(SqlBatchWriter(database))
        async with GroupCommit(writer, defer_seconds=defer_seconds, retry_seconds=0.01).running() as commits:
            yield SqlStores(database, url, writer, commits)


def stop_entry(run: Run, rows: Sequence[InterruptRow] = ()) -> Entry:
    """Return the entry with which a run ends or parks: the row, its last event, and its interrupts."""
    seq = run.accounting.last_seq + 1
    [event] = encoded(NOW, status_changed(run.status))
    entry = progress_entry(replace(run, accounting=Accounting(seq, run.accounting.usage)), [event])
    return replace(entry, interrupts=rows)


def a_question(run_id: str, interrupt_id: str = "a", **columns: Any) -> InterruptRow:
    """Return the row of an interrupt that any answer answers."""
    row: InterruptRow = {
        "run_id": run_id,
        "interrupt_id": interrupt_id,
        "tenant": TENANT,
        "node": "ask",
        "value": "sure?",
        "created": NOW,
        "status": PENDING,
        "answer": None,
        "answered": None,
        "answered_by": "",
        "comment": "",
        "approval_id": None,
        "approval": None,
        "ttl": 0.0,
    }
    row.update(columns)  # type: ignore[typeddict-item]
    return row
