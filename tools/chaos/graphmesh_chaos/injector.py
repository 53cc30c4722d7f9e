"""Injects the faults of a schedule into the processes of a mesh."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from graphmesh_local.child_process import Child, ProcessDied, State, gather_or_cancel
from graphmesh_local.databases import DatabaseUrls, SharedServers, client_ports, crash_postgres, drop_connections
from graphmesh_local.probes import NOT_READY_ERRORS, http_get
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_local.server_programs import ORCHESTRATOR, local_address
from graphmesh_local.supervisor import Supervisor
from graphmesh_orchestrator.leases.liveness import LOCK_ACQUIRED
from psycopg import OperationalError

from graphmesh_chaos.environment import KINDS, Environment
from graphmesh_chaos.grouping import group_by
from graphmesh_chaos.history_reader import ExecutingRuns
from graphmesh_chaos.link_faults import faulty
from graphmesh_chaos.links import POSTGRES, Links
from graphmesh_chaos.schedule import CUTTING_OFF, NETWORK, Fault, FaultKind

POLL_SECONDS = 0.02
START_SECONDS = 0.5
"""The start of a process that is forked on an idle machine takes no longer."""
WORK_WITHIN_SECONDS = 1.0
"""Longest wait of a fault for work that it can interrupt."""
TERMINATE_WITHIN_SECONDS = 30.0
"""Longest wait for a graceful shutdown, before SIGKILL."""
ENVOY, REDIS = "envoy", "redis"
MAX_RESTARTS = 20
"""Attempts to restart a process that ends before it is ready."""


@dataclass(frozen=True)
class InjectedFault:
    """A fault that happened, and the work that it interrupted."""

    fault: Fault
    time: datetime
    run_ids: Sequence[str] = ()
    """The runs that an orchestrator executed which was killed, or cut off from PostgreSQL."""
    calls: int = 0
    """The calls in flight to another process of the mesh that was killed."""

    @property
    def interrupted_work(self) -> bool:
        return bool(self.run_ids or self.calls)


class UnexpectedDeath(Exception):
    """A process died without a fault."""


class Injector:
    """Injects faults: those of one process in sequence, those of several concurrently."""

    def __init__(
        self,
        mesh: RunningMesh,
        links: Links,
        databases: DatabaseUrls,
        shared: SharedServers | None,
        on_fault: Callable[[InjectedFault], None],
        environment: Environment,
    ) -> None:
        self._mesh, self._links, self._shared, self._on_fault = mesh, links, shared, on_fault
        self._environment = environment
        self._executing = ExecutingRuns(databases)
        self.injected: list[InjectedFault] = []

    async def run(self, faults: Iterable[Fault]) -> None:
        """Inject all faults; returns when every killed process is ready again.

        Raises:
            UnexpectedDeath: a process died without a fault.
            ProcessError: a process could not be restarted.
        """
        began = asyncio.get_running_loop().time()
        by_target = group_by(faults, lambda fault: fault.target)
        try:
            await gather_or_cancel(self._inject_in_sequence(of_target, began) for of_target in by_target.values())
        finally:
            self._executing.close()

    def check_alive(self) -> None:
        """Raises UnexpectedDeath."""
        for child in self._mesh.supervisor.children:
            check_alive(child)

    async def _inject_in_sequence(self, faults: Iterable[Fault], began: float) -> None:
        for fault in sorted(faults):
            await asyncio.sleep(began + fault.at - asyncio.get_running_loop().time())
            if fault.delay_at_work is not None:
                await self._wait_for_work(fault)
                await asyncio.sleep(fault.delay_at_work * self._slowness(fault.target))
            self.injected.append(await self._observe(fault))
            self._on_fault(self.injected[-1])
            await self._inject(fault)

    def _slowness(self, target: str) -> float:
        """Return the factor by which the process started slower than on an idle machine, and so does its work."""
        child, _ = self._process(target)
        return max(1.0, child.seconds / START_SECONDS)

    async def _wait_for_work(self, fault: Fault) -> None:
        """Wait until the target has work, for at most `WORK_WITHIN_SECONDS`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WORK_WITHIN_SECONDS):
                while not (await self._observe(fault)).interrupted_work:
                    await asyncio.sleep(POLL_SECONDS)

    async def _observe(self, fault: Fault) -> InjectedFault:
        """The fault as of now, with the work of its target."""
        process = fault.target.removesuffix(f"/{POSTGRES}") if fault.kind in CUTTING_OFF else fault.target
        if fault.kind not in (FaultKind.KILL, *CUTTING_OFF) or "/" in process or process == REDIS:
            return InjectedFault(fault, datetime.now(UTC))
        if ORCHESTRATOR in process:
            worker = worker_of(self._mesh.child(process)) if self._shared else ""
            run_ids = await asyncio.to_thread(self._executing.of_worker, worker)
            return InjectedFault(fault, datetime.now(UTC), run_ids)
        calls = await self._calls_in_flight(fault.target)
        return InjectedFault(fault, datetime.now(UTC), calls=calls)

    async def _calls_in_flight(self, target: str) -> int:
        """Envoy's count of open calls to the target, or of all if it is Envoy; 0 while Envoy is down."""
        clusters = "" if target == ENVOY else target
        url = f"http://{local_address(self._mesh.mesh.admin)}/stats?filter=^cluster.{clusters}.*upstream_rq_active$"
        with suppress(*NOT_READY_ERRORS):
            return sum(int(line.rpartition(": ")[2]) for line in (await http_get(url)).body.splitlines())
        return 0

    async def _inject(self, fault: Fault) -> None:
        if fault.kind in KINDS:
            await self._environment.inject(fault)
            return
        if fault.kind in NETWORK:
            with faulty(self._links[fault.target], fault):
                await asyncio.sleep(fault.seconds)
            return
        if fault.kind is FaultKind.CRASH:
            crash_postgres(self._servers.postgres)
            return
        child, supervisor = self._process(fault.target)
        check_alive(child)
        match fault.kind:
            case FaultKind.FREEZE:
                with frozen(child.pid):
                    await asyncio.sleep(fault.seconds)
            case FaultKind.DROP_CONNECTIONS:
                server, proxied = self._servers.postgres, self._links.server_side_ports(child.program.name)
                with suppress(OperationalError):  # PostgreSQL has just closed them itself
                    await asyncio.to_thread(drop_connections, server, proxied or client_ports(server, child.pid))
            case _:
                await end(child, signal.SIGTERM if fault.kind is FaultKind.TERMINATE else signal.SIGKILL)
                await asyncio.sleep(fault.seconds)
                await restart(child, supervisor)

    @property
    def _servers(self) -> SharedServers:
        assert self._shared, "a fault of servers that this mesh does not have"
        return self._shared

    def _process(self, name: str) -> tuple[Child, Supervisor]:
        if name == REDIS:
            return self._servers.redis.supervisor.children[0], self._servers.redis.supervisor
        return self._mesh.child(name), self._mesh.supervisor


def worker_of(child: Child) -> str:
    """The name under which an orchestrator holds leases, from its log; a name of no worker until it is logged."""
    lines = child.output().splitlines()
    return next((str(json.loads(line)["worker"]) for line in lines if LOCK_ACQUIRED in line), "unknown")


def check_alive(child: Child) -> None:
    """Raises UnexpectedDeath."""
    if child.state is State.DIED:
        raise UnexpectedDeath(str(child.last_death))


async def end(child: Child, by: signal.Signals) -> None:
    """Send a signal and wait for the end; as any supervisor does, send SIGKILL if that takes too long."""
    os.kill(child.pid, by)
    with suppress(TimeoutError):
        async with asyncio.timeout(TERMINATE_WITHIN_SECONDS):
            await _wait_until_dead(child)
    child.kill()
    await _wait_until_dead(child)


async def _wait_until_dead(child: Child) -> None:
    while child.state is not State.DIED:
        await asyncio.sleep(POLL_SECONDS)


async def restart(child: Child, supervisor: Supervisor) -> None:
    """Restart as a supervisor does: again where it ends at once, because PostgreSQL may be recovering."""
    for _ in range(MAX_RESTARTS):
        with suppress(ProcessDied):
            return await supervisor.restart(child)
        await asyncio.sleep(1)
    return await supervisor.restart(child)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
