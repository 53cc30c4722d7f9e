"""Doing to processes what a plan says."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from graphmesh_cli.backends import Postgres
from graphmesh_cli.chaos.checker import grouped
from graphmesh_cli.chaos.databases import crash
from graphmesh_cli.chaos.schedule import Act, Fault
from graphmesh_cli.processes import Child, ProcessDied, State, together
from graphmesh_cli.running import RunningMesh

POLL_SECONDS = 0.02
RESTARTS = 3
"""How often a process may end before it is ready."""


@dataclass(frozen=True)
class Injected:
    """A fault that was done, and when."""

    fault: Fault
    time: datetime


class DiedByItself(Exception):
    """A process died that nobody had killed."""


class Injector:
    """Injects faults into the processes of a mesh, each process' own one after the other."""

    def __init__(self, mesh: RunningMesh, server: Postgres | None, on_fault: Callable[[Injected], None]) -> None:
        self._mesh, self._server, self._on_fault = mesh, server, on_fault
        self.injected: list[Injected] = []

    async def run(self, faults: Iterable[Fault]) -> None:
        """Inject all; returns when what was killed is ready again. Raises DiedByItself, ProcessError."""
        began = asyncio.get_running_loop().time()
        by_target = grouped(faults, lambda fault: fault.target)
        await together(self._one_by_one(of_target, began) for of_target in by_target.values())

    def check_alive(self) -> None:
        """Raises DiedByItself."""
        for child in self._mesh.supervisor.children:
            check_alive(child)

    async def _one_by_one(self, faults: Iterable[Fault], began: float) -> None:
        for fault in sorted(faults):
            await asyncio.sleep(began + fault.at - asyncio.get_running_loop().time())
            self.injected.append(Injected(fault, datetime.now(UTC)))
            self._on_fault(self.injected[-1])
            if fault.act is not Act.CRASH:
                await self._inject(fault, self._mesh.child(fault.target))
            elif self._server:
                crash(self._server)

    async def _inject(self, fault: Fault, child: Child) -> None:
        check_alive(child)
        if fault.act is Act.FREEZE:
            with frozen(child.pid):
                await asyncio.sleep(fault.seconds)
            return
        await killed(child)
        await asyncio.sleep(fault.seconds)
        await self._revive(fault.target)

    async def _revive(self, name: str) -> None:
        """Start it again, as a supervisor does: also where it ends at once, for PostgreSQL may be recovering."""
        for _ in range(RESTARTS):
            with suppress(ProcessDied):
                return await self._mesh.revive(name)
            await asyncio.sleep(1)
        return await self._mesh.revive(name)


def check_alive(child: Child) -> None:
    if child.state is State.DIED:
        raise DiedByItself(str(child.last_death))


async def killed(child: Child) -> None:
    """SIGKILL it, and wait until it is gone."""
    child.kill()
    while child.state is not State.DIED:
        await asyncio.sleep(POLL_SECONDS)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
