"""An orchestrator without a database: its memory twins, and workers over them."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.rpc import status_pb2
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import from_status
from graphmesh_nodes.context import Policies
from graphmesh_nodes.testing.twin_mesh import TwinMesh
from graphmesh_orchestrator.api.run_watcher import RunWatcher
from graphmesh_orchestrator.api.submission import Submission
from graphmesh_orchestrator.assistants.assistants import MemoryAssistants
from graphmesh_orchestrator.checkpoints import GroupCommit
from graphmesh_orchestrator.checkpoints.batch_writer import MemoryBatchWriter
from graphmesh_orchestrator.checkpoints.memory_saver import MemorySaver
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.interrupts.approvals import MemoryApprovals
from graphmesh_orchestrator.interrupts.interrupts import MemoryInterrupts
from graphmesh_orchestrator.leases.in_flight import InFlight, Worker
from graphmesh_orchestrator.leases.leases import MemoryLeases
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.roles import NO_RULES, RoleRules
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.pending_runs import MemoryPendingRuns
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import MemoryRuns
from graphmesh_orchestrator.store.items import MemoryStore
from graphmesh_orchestrator.store.memory import Memory
from graphmesh_orchestrator.webhooks.deliveries import MemoryDeliveries
from graphmesh_orchestrator.webhooks.delivery import HostPatterns
from graphmesh_orchestrator.webhooks.receivers import Receivers
from graphmesh_orchestrator.worker.executor import Bounds, Executor, Tools
from graphmesh_orchestrator.worker.node_threads import NodeThreads
from graphmesh_orchestrator.worker.run_spans import RunSpans
from graphmesh_orchestrator.worker.suspension import Suspension
from langgraph.graph import StateGraph

from tests.contract.batch_writers import ControlledWriter
from tests.contract.stored_events import Event, events_in

GRAPH = "pay"
TIMEOUT = 60.0
"""Seconds until a test fails that waits for a run."""


class MemoryWorker:
    """A process that executes runs: `submission` creates them, `executor` executes them."""

    def __init__(self, stores: "MemoryOrchestrator", name: str, capacity: int) -> None:
        self.in_flight, self.notifier = InFlight(Worker(name, capacity)), Notifier(is_alone=True)
        self.leases = MemoryLeases(stores.tables, name)
        self.suspension = Suspension(stores.interrupts, stores.runs, stores.saver)
        self.freed_threads = 0
        """How often the executor has reported a free thread."""
        self.executor = Executor(
            self.in_flight,
            stores.registry,
            Tools(stores.mesh, Policies(), stores.roles),
            stores.commits,
            self.suspension,
            stores.memory,
            self.leases,
            self.notifier,
            stores.threads,
            self._thread_freed,
            RunSpans(stores.runs, stores.interrupts, name, 0, lambda run, trace: None),
            Bounds(stop_seconds=0.2),
            shows_causes=stores.shows_causes,
        )
        receivers = Receivers(HostPatterns(["hooks.example.com"]), b"")
        requests = RunRequests(stores.registry, stores.assistants, receivers, stores.roles)
        self.submission = Submission(stores.runs, requests, self.in_flight, self.notifier, self.executor.begin)
        self.watcher = RunWatcher(stores.runs, self.in_flight, self.notifier)
        self._served = stores.registry.served

    async def stopped(self, run: Run) -> Run:
        """Wait until a run has ended or parked."""
        async with asyncio.timeout(TIMEOUT):
            return await self.watcher.stopped(run.identity.tenant, run.run_id)

    async def execute(self, run: Run) -> Run:
        """Create a run, and wait until it has ended or parked."""
        return await self.stopped(await self.submission.create(run))

    async def claim(self) -> Run:
        """Claim the only run that can be claimed, and begin it."""
        begun = time.monotonic()
        [run] = await self.leases.claim(self._served, 10)
        self.executor.begin(run, begun)
        return run

    def _thread_freed(self) -> None:
        self.freed_threads += 1


@dataclass
class MemoryOrchestrator:
    """The stores that workers share, and one graph, registered as `GRAPH`."""

    commits: GroupCommit
    writer: ControlledWriter
    tables: MemoryTables
    registry: Registry
    saver: MemorySaver
    threads: NodeThreads = field(default_factory=NodeThreads)
    """Where the synchronous nodes of runs are executed, if it is the executor of the loop."""
    shows_causes: bool = False
    roles: RoleRules = NO_RULES
    advanced: float = 0.0
    """Seconds by which the clock of the tables is ahead of the system's."""

    def __post_init__(self) -> None:
        self.tables.clock = lambda: time.time() + self.advanced
        self.runs, self.pending = MemoryRuns(self.tables), MemoryPendingRuns(self.tables)
        self.interrupts, self.approvals = MemoryInterrupts(self.tables), MemoryApprovals(self.tables)
        self.assistants = MemoryAssistants()
        self.deliveries, self.memory = MemoryDeliveries(self.tables), Memory(MemoryStore(self.tables))
        self.mesh = TwinMesh(Policies())
        """The tool services of all workers."""

    def worker(self, name: str = "one", capacity: int = 10) -> MemoryWorker:
        return MemoryWorker(self, name, capacity)

    async def events(self, run: Run) -> Sequence[Event]:
        """Return all events of a run, whose numbers have no gaps."""
        events = events_in(await self.runs.events(run.run_id, 0, 1000))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return events

    async def trace(self, run: Run) -> list[str]:
        """Return the events of a run in short: `running`, `+node` where it begins, `-node` where it ends, `success`."""
        return [_short(event) for event in await self.events(run)]


@asynccontextmanager
async def open_orchestrator(
    graph: StateGraph[Any, Any, Any, Any] | Path, threads: NodeThreads | None = None
) -> AsyncIterator[MemoryOrchestrator]:
    """Run an orchestrator with a graph, or with that of a langgraph.json."""
    tables, saver = MemoryTables(), MemorySaver()
    writer = ControlledWriter(MemoryBatchWriter(tables))
    async with _registry(graph, saver) as registry, GroupCommit(writer, retry_seconds=0.01).running() as commits:
        yield MemoryOrchestrator(commits, writer, tables, registry, saver, threads or NodeThreads())


@asynccontextmanager
async def _registry(graph: StateGraph[Any, Any, Any, Any] | Path, saver: MemorySaver) -> AsyncIterator[Registry]:
    if isinstance(graph, Path):
        async with loaded_graphs(graph, saver) as registry:
            yield registry
    else:
        yield Registry({GRAPH: Graph.of(GRAPH, graph.compile(checkpointer=saver, name=GRAPH))})


def error_of(run: Run) -> GraphmeshError:
    """Return the error that a run has ended with."""
    assert run.state.error is not None
    return from_status(status_pb2.Status.FromString(run.state.error))


def _short(event: Event) -> str:
    match event.kind:
        case EventKind.STATUS:
            return str(event.data["status"])
        case EventKind.NODE_STARTED:
            return f"+{event.node}"
        case EventKind.NODE_FINISHED:
            return f"-{event.node}"
        case _:
            return event.kind.name.lower()
