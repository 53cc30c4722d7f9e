"""One experiment: a mesh of its own, the faults and runs of a schedule, and the check of its databases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphmesh_local.child_process import gather_or_cancel
from graphmesh_local.databases import SERVICES, DatabaseUrls, SharedServers, database_settings, service_databases
from graphmesh_local.running_mesh import GRAPHS_SETTING, RunningMesh, running_mesh
from graphmesh_local.spawning import Spawner, spawn_process
from graphmesh_local.supervisor import OnDeath
from sqlalchemy.exc import OperationalError

from graphmesh_chaos.checker import Violation, check
from graphmesh_chaos.database_clock import install_clock
from graphmesh_chaos.environment import Environment
from graphmesh_chaos.history import History, RunRequest
from graphmesh_chaos.history_reader import count_open_runs, read_history
from graphmesh_chaos.injector import InjectedFault, Injector
from graphmesh_chaos.links import Links, open_links
from graphmesh_chaos.mesh_files import (
    CONVERSATION,
    CONVERSATION_FILE,
    PAYMENTS,
    PAYMENTS_FILE,
    place_on_free_ports,
    write_registry,
    write_topology,
)
from graphmesh_chaos.recovery import Interruption, recovery_seconds
from graphmesh_chaos.replicated_postgres import ReplicatedPostgres
from graphmesh_chaos.schedule import CUTTING_OFF, FaultKind, Schedule
from graphmesh_chaos.small_disk import SmallDisk
from graphmesh_chaos.thread_clients import Records, SessionClients, clients_of, requests_of
from graphmesh_chaos.wall_clock import WallClocks
from graphmesh_chaos.workload import Approvers, create_invoices, request_of, submit_runs

POLICY = {"maxConcurrency": 2, "maxQueue": 4}
"""The policy of the services: low, so that bursts fill their queues and calls are refused."""
SETTINGS = {"GRAPHMESH_ORCHESTRATOR_CAPACITY": "8"}
"""Environment variables of the servers: low, so that a burst of runs has to queue."""
PROGRAMS = tuple(f"graphmesh_{name}" for name in SERVICES)
"""The packages of the servers."""
ENDED_WITHIN_SECONDS = 120.0
"""Longest wait for the ends of all runs, after the last fault."""


@dataclass(frozen=True)
class MeshOptions:
    """The mesh that an experiment runs on."""

    orchestrators: int = 1
    """Several need `shared` servers."""
    shared: SharedServers | None = None
    """Servers for the databases; None: SQLite files in the state folder."""
    graph: Path = PAYMENTS_FILE
    """The module of the graph of all runs."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the servers, over `SETTINGS`."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Policy of the services, over `POLICY`."""
    spawn: Spawner = spawn_process
    on_death: OnDeath = OnDeath.CONTINUE
    """RESTART where runs kill their workers; faults need CONTINUE, since the injector restarts what it has killed."""
    clocks: WallClocks | None = None
    """For faults of the kind CLOCK; the spawner has to be one that starts Python with the settings of these clocks."""
    disk: SmallDisk | None = None
    """For faults of the kind FULL_DISK; `shared` servers or SQLite's folder have to be on it."""
    replicated: ReplicatedPostgres | None = None
    """For faults of the kind FAILOVER; the PostgreSQL of the `shared` servers."""


@dataclass(frozen=True)
class Result:
    """The result of an experiment."""

    injected: Sequence[InjectedFault]
    history: History
    violations: Sequence[Violation]
    recovery: Sequence[float]
    """Seconds without progress of each run that the death of an orchestrator interrupted; shortest first."""
    takeover: Sequence[float]
    """The same for the runs that were taken over from an orchestrator which was cut off from PostgreSQL."""


async def run_experiment(
    schedule: Schedule,
    state: Path,
    options: MeshOptions,
    on_fault: Callable[[InjectedFault], None] = lambda injected: None,
) -> Result:
    """Run a schedule with its files in the folder `state`, which is empty. `on_fault` is called at each fault.

    Raises:
        MeshError, MeshBusy, ProcessError: the mesh could not be started.
        UnexpectedDeath: a process died without a fault.
    """
    records = Records()
    async with service_databases(options.shared, state) as databases:
        async with _mesh(options, databases, state, schedule.links) as (mesh, links):
            environment = Environment(mesh, databases, options.shared, options.clocks, options.disk, options.replicated)
            injector = Injector(mesh, links, databases, options.shared, on_fault, environment)
            async with (
                Approvers(mesh).running() as approvers,
                clients_of(mesh, records, schedule.patience) as clients,
            ):
                requests = await _run_schedule(schedule, mesh, injector, clients)
                await _wait_for_ends(databases)
                await clients.read_all(schedule.sessions)
            injector.check_alive()
        requests += records.with_responses(requests_of(schedule.sessions))
        history = await asyncio.to_thread(read_history, databases, requests, approvers.acknowledged, records.observed)
    return Result(
        injector.injected,
        history,
        check(history),
        recovery=_recovery(injector.injected, [FaultKind.KILL], history),
        takeover=_recovery(injector.injected, CUTTING_OFF, history),
    )


def _recovery(injected: Sequence[InjectedFault], kinds: Collection[FaultKind], history: History) -> list[float]:
    interruptions = [Interruption(one.time, one.run_ids) for one in injected if one.fault.kind in kinds]
    return recovery_seconds(interruptions, history.events)


@asynccontextmanager
async def _mesh(
    options: MeshOptions, databases: DatabaseUrls, state: Path, link_names: Collection[str]
) -> AsyncIterator[tuple[RunningMesh, Links]]:
    """Run the mesh, with proxies on the links of these names; all others are direct."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    registry = write_registry(state, {PAYMENTS: (options.graph, "graph"), CONVERSATION: (CONVERSATION_FILE, "graph")})
    topology = write_topology(state, options.orchestrators, {**POLICY, **options.policy})
    if options.clocks and options.shared:
        for url in databases.values():
            install_clock(url)
    settings = {
        GRAPHS_SETTING: str(registry),
        **(options.clocks.settings if options.clocks else {}),
        **SETTINGS,
        **database_settings(databases, options.shared),
        **options.settings,
    }
    mesh = place_on_free_ports(topology)
    async with (
        open_links(link_names, mesh, options.shared) as links,
        running_mesh(
            topology,
            state,
            on_death=options.on_death,
            settings=settings,
            process_settings=links.settings(databases, options.shared),
            reroute=links.reroute,
            spawn=options.spawn,
        ) as running,
    ):
        yield running, links


async def _run_schedule(
    schedule: Schedule, mesh: RunningMesh, injector: Injector, clients: SessionClients
) -> list[RunRequest]:
    """Returns the requests of the submissions when all runs and faults have ended."""
    payments = [request_of(submission) for submission in schedule.submissions]
    async with mesh.channel() as channel:
        await create_invoices(channel, [*payments, *requests_of(schedule.sessions)])
    requests: list[RunRequest] = []

    async def submit() -> None:
        requests.extend(await submit_runs(mesh, schedule.submissions))

    await gather_or_cancel([injector.run(schedule.faults), submit(), clients.run(schedule.sessions)])
    return requests


async def _wait_for_ends(databases: DatabaseUrls) -> None:
    """Poll until all runs have ended, at most for `ENDED_WITHIN_SECONDS`: the checker reports those that have not."""
    for _ in range(round(ENDED_WITHIN_SECONDS)):
        with suppress(OperationalError):  # PostgreSQL may still recover from the last fault
            if not await asyncio.to_thread(count_open_runs, databases):
                return
        await asyncio.sleep(1)
