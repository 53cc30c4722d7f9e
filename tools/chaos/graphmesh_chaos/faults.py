"""Doing to processes what a plan says."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from graphmesh_local.child_process import Child, ProcessDied, State, together
from graphmesh_local.databases import Databases, Servers, crash, drop_connections
from graphmesh_local.probes import NOT_YET, get
from graphmesh_local.running_mesh import ORCHESTRATOR, RunningMesh, reachable
from graphmesh_local.supervisor import Supervisor
from psycopg import OperationalError

from graphmesh_chaos.checker import grouped
from graphmesh_chaos.reading import Executed
from graphmesh_chaos.schedule import Act, Fault

POLL_SECONDS = 0.02
IDLE_WITHIN = 1.0
"""Seconds for which a fault waits for work that it can stop."""
STOPPED_WITHIN = 30.0
"""Seconds for which a process that is asked to end is waited for."""
ENVOY, REDIS = "envoy", "redis"
PRESENCE = '"presence shown"'
"""In the line of an orchestrator's log that names its worker."""
RESTARTS = 20
"""How often a process may end before it is ready."""


@dataclass(frozen=True)
class Injected:
    """A fault that was done, and when."""

    fault: Fault
    time: datetime
    stopped: Sequence[str] = ()
    """The runs that the process executed, where an orchestrator was killed."""
    calls: int = 0
    """That were under way, where anything else of the mesh was killed."""

    @property
    def hit(self) -> bool:
        """Whether it stopped work."""
        return bool(self.stopped or self.calls)


class DiedByItself(Exception):
    """A process died that nobody had killed."""


class Injector:
    """Injects faults into the processes of a mesh, each process' own one after the other."""

    def __init__(
        self,
        mesh: RunningMesh,
        databases: Databases,
        shared: Servers | None,
        on_fault: Callable[[Injected], None],
    ) -> None:
        self._mesh, self._shared, self._on_fault = mesh, shared, on_fault
        self._executed = Executed(databases)
        self.injected: list[Injected] = []

    async def run(self, faults: Iterable[Fault]) -> None:
        """Inject all; returns when what was killed is ready again. Raises DiedByItself, ProcessError."""
        began = asyncio.get_running_loop().time()
        by_target = grouped(faults, lambda fault: fault.target)
        try:
            await together(self._one_by_one(of_target, began) for of_target in by_target.values())
        finally:
            self._executed.close()

    def check_alive(self) -> None:
        """Raises DiedByItself."""
        for child in self._mesh.supervisor.children:
            check_alive(child)

    async def _one_by_one(self, faults: Iterable[Fault], began: float) -> None:
        for fault in sorted(faults):
            await asyncio.sleep(began + fault.at - asyncio.get_running_loop().time())
            if fault.after is not None:
                await self._at_work(fault)
                await asyncio.sleep(fault.after)
            self.injected.append(await self._strikes(fault))
            self._on_fault(self.injected[-1])
            if fault.act is Act.CRASH:
                crash(self._servers.postgres)
            else:
                await self._inject(fault, *self._process(fault.target))

    async def _at_work(self, fault: Fault) -> None:
        """Wait until the target works, at most for `IDLE_WITHIN`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_WITHIN):
                while not (await self._strikes(fault)).hit:
                    await asyncio.sleep(POLL_SECONDS)

    async def _strikes(self, fault: Fault) -> Injected:
        """A fault of this moment, and what it stops."""
        if fault.act is not Act.KILL or fault.target == REDIS:
            return Injected(fault, datetime.now(UTC))
        if ORCHESTRATOR in fault.target:
            worker = worker_of(self._mesh.child(fault.target)) if self._shared else ""
            stopped = await asyncio.to_thread(self._executed.by, worker)
            return Injected(fault, datetime.now(UTC), stopped)
        calls = await self._calls(fault.target)
        return Injected(fault, datetime.now(UTC), calls=calls)

    @property
    def _servers(self) -> Servers:
        assert self._shared, "a fault of servers that are not there"
        return self._shared

    def _process(self, name: str) -> tuple[Child, Supervisor]:
        if name == REDIS:
            return self._servers.redis.supervisor.children[0], self._servers.redis.supervisor
        return self._mesh.child(name), self._mesh.supervisor

    async def _calls(self, target: str) -> int:
        """How many calls to the target, or through it where it is Envoy, Envoy waits for; 0 where it is not there."""
        clusters = "" if target == ENVOY else target
        url = f"http://{reachable(self._mesh.mesh.admin)}/stats?filter=^cluster.{clusters}.*upstream_rq_active$"
        with suppress(*NOT_YET):
            return sum(int(line.rpartition(": ")[2]) for line in (await get(url)).body.splitlines())
        return 0

    async def _inject(self, fault: Fault, child: Child, supervisor: Supervisor) -> None:
        check_alive(child)
        match fault.act:
            case Act.FREEZE:
                with frozen(child.pid):
                    await asyncio.sleep(fault.seconds)
            case Act.DROP:
                with suppress(OperationalError):  # PostgreSQL has just dropped them itself
                    await asyncio.to_thread(drop_connections, self._servers.postgres, child.pid)
            case _:
                await ended(child, signal.SIGTERM if fault.act is Act.STOP else signal.SIGKILL)
                await asyncio.sleep(fault.seconds)
                await revived(child, supervisor)


def worker_of(child: Child) -> str:
    """The name under which an orchestrator holds leases, as it has said itself."""
    lines = child.written().splitlines()
    return next((str(json.loads(line)["worker"]) for line in lines if PRESENCE in line), "nobody")


def check_alive(child: Child) -> None:
    if child.state is State.DIED:
        raise DiedByItself(str(child.last_death))


async def ended(child: Child, by: signal.Signals) -> None:
    """Send it a signal, and wait until it is gone; as any supervisor does, insist after a while."""
    os.kill(child.pid, by)
    with suppress(TimeoutError):
        async with asyncio.timeout(STOPPED_WITHIN):
            await _gone(child)
    child.kill()
    await _gone(child)


async def _gone(child: Child) -> None:
    while child.state is not State.DIED:
        await asyncio.sleep(POLL_SECONDS)


async def revived(child: Child, supervisor: Supervisor) -> None:
    """Start it again, as a supervisor does: also where it ends at once, for PostgreSQL may be recovering."""
    for _ in range(RESTARTS):
        with suppress(ProcessDied):
            return await supervisor.revive(child)
        await asyncio.sleep(1)
    return await supervisor.revive(child)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
