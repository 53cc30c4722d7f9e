"""The root of the worker: the executor and the background tasks of `--role all` or `--role worker`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from graphmesh_chassis.serve import Task
from graphmesh_chassis.settings import DEVELOPMENT

from graphmesh_orchestrator.backend import Backend
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.graph_rates import GraphRates
from graphmesh_orchestrator.interrupts.approval_expiry import ApprovalExpiry
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.leases.claiming import Claiming
from graphmesh_orchestrator.leases.heartbeat import Heartbeat
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier, Topic
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.schedules.ticker import Ticker
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.store.memory import Memory
from graphmesh_orchestrator.threads.retention import Retention
from graphmesh_orchestrator.webhooks.delivery import RetryPolicy
from graphmesh_orchestrator.webhooks.dispatcher import Dispatcher
from graphmesh_orchestrator.webhooks.receivers import Receivers
from graphmesh_orchestrator.worker.executor import Bounds, Executor, Tools
from graphmesh_orchestrator.worker.late_traces import Bounds as KeptTraces
from graphmesh_orchestrator.worker.late_traces import LateTraces
from graphmesh_orchestrator.worker.loop_watcher import LoopWatcher
from graphmesh_orchestrator.worker.node_threads import NodeThreads
from graphmesh_orchestrator.worker.run_queue import RunQueue
from graphmesh_orchestrator.worker.run_spans import RunSpans
from graphmesh_orchestrator.worker.suspension import Suspension


@dataclass(frozen=True)
class RunWorker:
    """The parts of a worker. The tasks run beside the server, the heartbeat around it."""

    executor: Executor
    heartbeat: Heartbeat
    tasks: Mapping[str, Task]


def run_worker(
    settings: Settings,
    backend: Backend,
    registry: Registry,
    tools: Tools,
    receivers: Receivers,
    in_flight: InFlight,
    threads: NodeThreads,
    notifier: Notifier,
    intervals: Intervals,
    rates: GraphRates | None,
    budgets: TenantBudgets,
) -> RunWorker:
    """Assemble the worker."""
    queue_timer, expiry_timer, delivery_timer, tick_timer = (PollTimer(notifier, intervals.idle) for _ in range(4))
    queue = RunQueue(backend.pending, notifier.to_claim, queue_timer)
    suspension = Suspension(backend.interrupts, backend.runs, backend.saver)
    late_traces = LateTraces(backend.runs, KeptTraces(settings.trace_slow_seconds, settings.trace_cost_usd))
    run_spans = RunSpans(
        backend.runs, backend.interrupts, in_flight.worker.name, settings.trace_ratio, late_traces.keep
    )
    executor = Executor(
        in_flight,
        registry,
        tools,
        backend.commits,
        suspension,
        Memory(backend.store, registry.store_ttl, registry.store_index),
        backend.leases,
        notifier,
        threads,
        queue.thread_freed,
        run_spans,
        Bounds(settings.stop_seconds, intervals.store, settings.max_takeovers),
        now=backend.clock.now,
        shows_causes=settings.environment == DEVELOPMENT,
        shared_budget=budgets.of,
    )
    served = [(graph, version) for graph, version in registry.served if in_flight.worker.executes(graph)]
    claiming = Claiming(backend.leases, served, in_flight, backend.detector, intervals.claim)
    heartbeat = Heartbeat(backend.open_leases, in_flight, intervals.heartbeat)
    expiry = ApprovalExpiry(backend.approvals, notifier.to_claim, expiry_timer)
    policy = RetryPolicy(settings.webhook_attempts)
    dispatcher = Dispatcher(backend.deliveries, backend.runs, receivers, policy, delivery_timer, settings.egress)
    requests = RunRequests(registry, backend.assistants, receivers, tools.roles, rates, budgets)
    ticker = Ticker(backend.schedules, requests, registry.names, notifier.to_claim, tick_timer)
    _listen(notifier, claiming, queue, heartbeat, expiry_timer, delivery_timer, tick_timer)
    tasks: Mapping[str, Task] = {
        "lease guard": in_flight.guard,
        "event loop watcher": LoopWatcher(in_flight).run,
        "claiming": partial(claiming.run, executor.begin),
        "dead worker detection": partial(backend.detector.run, claiming.poll),
        "run queue": queue.run,
        "approval expiry": expiry.run,
        "webhooks": dispatcher.run,
        "schedules": ticker.run,
        "late traces": late_traces.run,
        "retention": Retention(backend.deletion, backend.store, settings.run_retention_seconds, backend.clock.now).run,
    }
    return RunWorker(executor, heartbeat, tasks)


def _listen(
    notifier: Notifier,
    claiming: Claiming,
    queue: RunQueue,
    heartbeat: Heartbeat,
    expiry_timer: PollTimer,
    delivery_timer: PollTimer,
    tick_timer: PollTimer,
) -> None:
    """Subscribe the background tasks to the notifications that make them poll."""
    for topic, listener in (
        (Topic.CLAIM, claiming.poll),
        (Topic.CLAIM, queue.added),
        (Topic.CANCEL, heartbeat.poll),
        (Topic.CANCEL, claiming.poll),
        (Topic.STOPPED, expiry_timer.soon),
        (Topic.STOPPED, delivery_timer.soon),
        (Topic.MISSED, expiry_timer.soon),
        (Topic.MISSED, delivery_timer.soon),
        (Topic.SCHEDULES, tick_timer.soon),
        (Topic.MISSED, tick_timer.soon),
    ):
        notifier.on(topic, listener)
