"""The storage of an orchestrator as one value: its ports over SQL, or any other implementation of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.settings import reveal
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import SecretStr

from graphmesh_orchestrator.assistants.assistants import Assistants
from graphmesh_orchestrator.assistants.assistants_sql import SqlAssistants
from graphmesh_orchestrator.budgets.daily_usage import DailyUsage
from graphmesh_orchestrator.budgets.daily_usage_sql import SqlDailyUsage
from graphmesh_orchestrator.checkpoints import Commits, GroupCommit, LogSaver, StateLimits
from graphmesh_orchestrator.checkpoints.group_commit_sql import SqlBatchWriter
from graphmesh_orchestrator.db.database_clock import DatabaseClock
from graphmesh_orchestrator.interrupts.approvals import Approvals
from graphmesh_orchestrator.interrupts.approvals_sql import SqlApprovals
from graphmesh_orchestrator.interrupts.interrupts import Interrupts
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.leases import Leases
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.leases.liveness import DeadWorkerDetector, worker_lock
from graphmesh_orchestrator.runs.feedback import Feedbacks
from graphmesh_orchestrator.runs.feedback_sql import SqlFeedbacks
from graphmesh_orchestrator.runs.pending_runs import PendingRuns
from graphmesh_orchestrator.runs.pending_runs_sql import SqlPendingRuns
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.schedules.schedules import Schedules
from graphmesh_orchestrator.schedules.schedules_sql import SqlSchedules
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.store.items import Store
from graphmesh_orchestrator.store.items_sql import SqlStore
from graphmesh_orchestrator.threads.deletion import Deletion
from graphmesh_orchestrator.threads.deletion_sql import SqlDeletion
from graphmesh_orchestrator.threads.forks_sql import SqlForks
from graphmesh_orchestrator.threads.threads import Threads
from graphmesh_orchestrator.threads.threads_sql import SqlThreads
from graphmesh_orchestrator.webhooks.deliveries import Deliveries
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries

MIGRATIONS = Path(__file__).parent / "migrations"
OpenLeases = Callable[[], AbstractAsyncContextManager[Leases]]


@dataclass(frozen=True)
class Backend:
    """The stores that a process uses. `dataclasses.replace` exchanges one of them, for a benchmark or a test."""

    database: Database
    """For the operations on the checkpoint log that no port has: forks, and updates of a state."""
    clock: DatabaseClock
    runs: Runs
    pending: PendingRuns
    feedbacks: Feedbacks
    usage: DailyUsage
    leases: Leases
    open_leases: OpenLeases
    """Opens leases with a connection of their own, for the heartbeat's thread."""
    detector: DeadWorkerDetector
    interrupts: Interrupts
    approvals: Approvals
    threads: Threads
    forks: SqlForks
    deletion: Deletion
    deliveries: Deliveries
    store: Store
    assistants: Assistants
    schedules: Schedules
    commits: Commits
    saver: BaseCheckpointSaver[Any]


@asynccontextmanager
async def open_backend(settings: Settings, worker: str) -> AsyncIterator[Backend]:
    """Open the SQL stores for a worker, which holds its advisory lock while the body runs."""
    async with (
        open_database(settings.database_url, MIGRATIONS) as database,
        worker_lock(reveal(settings.database_url), worker),
        GroupCommit(SqlBatchWriter(database)).running() as commits,
    ):
        saver = LogSaver(database, commits, StateLimits(settings.artifact_bytes, settings.max_state_bytes))
        threads, clock = SqlThreads(database, settings.thread_ttl_seconds), DatabaseClock(database)
        runs = SqlRuns(database, settings.max_waiting)
        leases = SqlLeases(database, worker, clock, settings.max_takeovers)
        await clock.poll()
        await leases.release_all()
        yield Backend(
            database=database,
            clock=clock,
            runs=runs,
            pending=SqlPendingRuns(database),
            feedbacks=SqlFeedbacks(database),
            usage=SqlDailyUsage(database),
            leases=leases,
            open_leases=partial(_open_leases, settings.database_url, worker),
            detector=DeadWorkerDetector(database, worker),
            interrupts=SqlInterrupts(database),
            approvals=SqlApprovals(database),
            threads=threads,
            forks=SqlForks(database, threads, saver.serde),
            deletion=SqlDeletion(database, saver.serde, settings.thread_ttl_seconds),
            deliveries=SqlDeliveries(database),
            store=SqlStore(database),
            assistants=SqlAssistants(database, settings.max_assistants),
            schedules=SqlSchedules(database, runs, settings.max_schedules),
            commits=commits,
            saver=saver,
        )


@asynccontextmanager
async def _open_leases(url: SecretStr, worker: str) -> AsyncIterator[Leases]:
    async with open_database(url) as database:
        yield SqlLeases(database, worker)
