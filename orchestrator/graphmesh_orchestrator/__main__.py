"""Settings, build, serve."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.serve import Servable, run, workload_of
from graphmesh_chassis.server_metrics import has_metrics
from graphmesh_nodes.context import Policies
from graphmesh_nodes.routes import record_routes
from langgraph.checkpoint.memory import InMemorySaver

from graphmesh_orchestrator.api.services import services
from graphmesh_orchestrator.backend import Backend, open_backend
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.db.backlog import BacklogReader
from graphmesh_orchestrator.graph_loading import MadeGraphs, made_graphs
from graphmesh_orchestrator.graph_rates import open_graph_rates, require_graphs
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.leases.in_flight import InFlight, Worker
from graphmesh_orchestrator.notifications.redis_bus import connected
from graphmesh_orchestrator.notifications.status_poller import StatusPoller
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.webhooks.delivery import HostPatterns
from graphmesh_orchestrator.webhooks.receivers import Receivers
from graphmesh_orchestrator.worker.abandoned import ping_of
from graphmesh_orchestrator.worker.executor import Tools
from graphmesh_orchestrator.worker.graph_exits import exits_contained
from graphmesh_orchestrator.worker.langgraph_stream import replace_stream
from graphmesh_orchestrator.worker.node_spans import trace_nodes
from graphmesh_orchestrator.worker.node_threads import NodeThreads, node_threads
from graphmesh_orchestrator.worker.run_metrics import observe_in_flight
from graphmesh_orchestrator.worker.worker import run_worker

OpenBackend = Callable[[Settings, str], AbstractAsyncContextManager[Backend]]
STANDBY_SECONDS = 0.02
"""Seconds between two queries of the file of a standby."""
DEFAULT_INTERVALS = Intervals()


@asynccontextmanager
async def build(
    settings: Settings, *, open_backend: OpenBackend = open_backend, intervals: Intervals = DEFAULT_INTERVALS
) -> AsyncIterator[Servable]:
    """Assemble an orchestrator of the role in the settings, over a backend."""
    _limit_memory(settings)
    signer = CallSigner(settings.call_key) if settings.call_key else None
    in_flight = InFlight(_worker(settings), is_alone=settings.is_alone)
    async with (
        _contained() as threads,
        made_graphs(settings.graphs, settings.without) as graphs,
        _taken_over(settings.standby, graphs),
        open_backend(settings, in_flight.worker.name) as backend,
        connected(settings.redis_url, settings.database_url) as notifier,
        Channel(settings.mesh, signer=signer, workload=workload_of(settings)) as channel,
        open_graph_rates(settings.graph_rates, settings.redis_url, settings.rate_answer_seconds, backend.runs) as rates,
    ):
        registry = graphs.registry(backend.saver)
        require_graphs(settings.graph_rates, registry.names)
        receivers = Receivers(HostPatterns(settings.webhook_hosts), settings.webhook_key)
        roles = RoleRules(settings.roles, registry.names, required=settings.identity == "required")
        tools = Tools(channel, Policies(settings.tool_policies), roles)
        budgets = TenantBudgets(settings.budgets, backend.usage, backend.runs, backend.clock.now)
        worker = run_worker(
            settings, backend, registry, tools, receivers, in_flight, threads, notifier, intervals, rates, budgets
        )
        begin = worker.executor.begin
        api = services(settings, backend, registry, receivers, in_flight, notifier, begin, roles, rates, budgets)
        poller = StatusPoller(backend.runs, notifier, in_flight, intervals.status, intervals.status_connected)
        async with worker.heartbeat:
            observe_in_flight(lambda: in_flight.graphs)
            yield Servable(
                services=[] if settings.role == "worker" else api,
                database=backend.database,
                pings={"executions": ping_of(in_flight)},
                tasks={
                    "database clock": backend.clock.run,
                    "status poller": poller.run,
                    **({"backlog": BacklogReader(backend.database).run} if has_metrics(settings) else {}),
                    **({"budgets": budgets.run} if settings.budgets else {}),
                    **({} if settings.role == "api" else worker.tasks),
                },
                drain=partial(worker.executor.drain, settings.drain_seconds / 2),
            )
            await worker.executor.drain(0)
            with suppress(DependencyError):
                await budgets.store()


@asynccontextmanager
async def _contained() -> AsyncIterator[NodeThreads]:
    """Let code of graphs neither end the process nor use up its threads, while the body runs, nor block it."""
    replace_stream()
    record_routes()
    trace_nodes()
    with exits_contained(), node_threads() as threads:
        yield threads


@asynccontextmanager
async def _taken_over(standby: Path | None, graphs: MadeGraphs) -> AsyncIterator[None]:
    """Wait until the process that this one replaces has ended: a SQLite file and a port belong to one.

    Raises:
        ProjectError: a graph cannot be compiled.
    """
    if standby:
        graphs.registry(InMemorySaver())
        standby.touch()
        while standby.exists():
            await asyncio.sleep(STANDBY_SECONDS)
    yield


def _worker(settings: Settings) -> Worker:
    return Worker(
        capacity=0 if settings.role == "api" else settings.capacity,
        graphs=settings.executes,
        max_takeovers=settings.max_takeovers,
    )


def _limit_memory(settings: Settings) -> None:
    if settings.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (settings.memory_bytes, settings.memory_bytes))


def main() -> None:
    run("orchestrator", build, Settings)


if __name__ == "__main__":
    main()
