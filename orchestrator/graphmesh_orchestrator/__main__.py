"""Settings, build, serve."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh.orchestrator.v1 import (
    ApprovalService,
    RunService,
    ThreadService,
    WebhookService,
    add_ApprovalServiceServicer_to_server,
    add_RunServiceServicer_to_server,
    add_ThreadServiceServicer_to_server,
    add_WebhookServiceServicer_to_server,
)
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, Task, run, tracing_of
from graphmesh_nodes.context import Policies

from graphmesh_orchestrator.api.approval_service import ApprovalServicer
from graphmesh_orchestrator.api.run_service import RunServicer
from graphmesh_orchestrator.api.run_watcher import RunWatcher
from graphmesh_orchestrator.api.submission import Submission
from graphmesh_orchestrator.api.thread_service import ThreadServicer
from graphmesh_orchestrator.api.webhook_service import WebhookServicer
from graphmesh_orchestrator.checkpoints import Bounds, GroupCommit, LogSaver
from graphmesh_orchestrator.interrupts.approval_expiry import Expiring
from graphmesh_orchestrator.interrupts.approvals_sql import SqlApprovals
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.claiming import Claiming
from graphmesh_orchestrator.leases.heartbeat import Heartbeat, Worker
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.leases.liveness import Absences, present
from graphmesh_orchestrator.notifications.notifier import Notices, Topic
from graphmesh_orchestrator.notifications.poll_timer import Pace
from graphmesh_orchestrator.notifications.redis_bus import connected
from graphmesh_orchestrator.notifications.status_poller import Looking
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.threads.deletion_sql import SqlRemoval
from graphmesh_orchestrator.threads.retention import Retention
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.threads_sql import SqlThreads
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries
from graphmesh_orchestrator.webhooks.delivery import HostPatterns, Tries
from graphmesh_orchestrator.webhooks.dispatcher import Dispatcher, Receivers
from graphmesh_orchestrator.worker.executor import Executor
from graphmesh_orchestrator.worker.run_queue import Admitting, SqlWaiting
from graphmesh_orchestrator.worker.suspension import Parking

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    tracing, notices = tracing_of("orchestrator", settings), Notices()
    worker = Worker(capacity=0 if settings.role == "api" else settings.capacity)
    async with (
        open_database(settings.database_url, MIGRATIONS) as database,
        connected(notices, settings.redis_url, settings.database_url),
        present(settings.database_url, worker.name),
        GroupCommit(database).running() as commits,
        Channel(settings.mesh, tracing) as channel,
    ):
        runs, leases = SqlRuns(database, settings.max_waiting), SqlLeases(database, worker.name)
        await leases.inherit()
        bounds = Bounds(settings.artifact_bytes, settings.max_state_bytes)
        saver, interrupts = LogSaver(database, commits, bounds), SqlInterrupts(database)
        graphs, policies = Registry.load(settings.graphs, saver), Policies(settings.tool_policies)
        parking, absences = Parking(interrupts, runs, saver), Absences(database, worker.name)
        claiming = Claiming(leases, graphs.served, lambda: executor.room, lambda: absences.dead)

        def pace() -> Pace:
            return Pace(lambda: database.is_sqlite or notices.others.connected)

        to_deliver, to_expire = pace(), pace()
        admitting = Admitting(SqlWaiting(database), notices.to_claim, pace())
        executor = Executor(worker, runs, commits, leases, graphs, channel, policies, notices, parking, admitting.look)
        receivers = Receivers(HostPatterns(settings.webhook_hosts), settings.webhook_key)
        submission = Submission(graphs, executor, receivers, notices.to_claim)
        deliveries = SqlDeliveries(database)
        dispatcher = Dispatcher(deliveries, runs, receivers, Tries(settings.webhook_attempts), to_deliver)
        own_database = partial(open_database, settings.database_url)
        heartbeat = Heartbeat(own_database, worker, lambda: executor.held, executor.lost, executor.cancel)
        for topic, listener in (
            (Topic.CLAIM, claiming.look),
            (Topic.CLAIM, admitting.added),
            (Topic.CANCEL, heartbeat.look),
            (Topic.CANCEL, claiming.look),
            (Topic.STOPPED, to_deliver.soon),
            (Topic.STOPPED, to_expire.soon),
            (Topic.MISSED, to_deliver.soon),
            (Topic.MISSED, to_expire.soon),
        ):
            notices.on(topic, listener)
        looking = Looking(runs, notices, lambda: executor.held)
        approvals = SqlApprovals(database)
        answering = ApprovalServicer(approvals, notices.to_claim)
        watcher = RunWatcher(runs, executor, notices)
        servicer = RunServicer(runs, interrupts, graphs, submission, executor, notices, watcher)
        threads = SqlThreads(database, saver.serde, settings.thread_ttl_seconds)
        removal = SqlRemoval(database, saver.serde, settings.thread_ttl_seconds)
        on_threads = ThreadServicer(threads, ThreadStates(database, graphs), removal, graphs)
        working: Mapping[str, Task] = {
            "claiming": lambda: claiming.run(executor.begin),
            "absences": lambda: absences.run(claiming.look),
            "admitting": admitting.run,
            "expiring": Expiring(approvals, notices.to_claim, to_expire).run,
            "webhooks": dispatcher.run,
            "retention": Retention(removal, settings.run_retention_seconds).run,
        }
        services = [
            Service(RunService, add_RunServiceServicer_to_server, servicer),
            Service(ThreadService, add_ThreadServiceServicer_to_server, on_threads),
            Service(ApprovalService, add_ApprovalServiceServicer_to_server, answering),
            Service(
                WebhookService,
                add_WebhookServiceServicer_to_server,
                WebhookServicer(deliveries, partial(notices.ring, stopped=True)),
            ),
        ]
        async with heartbeat:
            yield Servable(
                services=[] if settings.role == "worker" else services,
                pings={"database": database.ping},
                tasks={"looking": looking.run, **({} if settings.role == "api" else working)},
                drain=lambda: executor.drain(settings.drain_seconds / 2),
                tracing=tracing,
            )
            await executor.drain(0)


def main() -> None:
    run("orchestrator", build, Settings)


if __name__ == "__main__":
    main()
