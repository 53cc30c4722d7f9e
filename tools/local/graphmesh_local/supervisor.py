"""A supervisor: starts processes in groups, observes them, restarts them, and stops them group by group."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from graphmesh_local.child_process import (
    LAST_LINES,
    Child,
    Death,
    ProcessDied,
    ProcessError,
    Program,
    State,
    abort_on_death,
    gather_or_cancel,
)
from graphmesh_local.spawning import Spawner, spawn_process

STANDBY = "GRAPHMESH_ORCHESTRATOR_STANDBY"
STABLE_SECONDS = 30.0
"""Seconds that a process must run for the backoff of its restarts to begin anew."""


class OnDeath(Enum):
    """The reaction of a supervisor to the death of a process."""

    STOP = "stop"
    """`wait_failure` returns, so that all can be stopped."""
    CONTINUE = "continue"
    """The others keep running without it."""
    RESTART = "restart"
    """It is started again, with growing backoff."""


def restart_backoff() -> Iterator[float]:
    """Yield the seconds before each restart of a process that keeps dying."""
    for attempt in range(6):
        yield 0.25 * 2**attempt
    while True:
        yield 10.0


class Supervisor:
    """Starts processes in groups, and stops the groups in the reverse order at the end of `async with`."""

    def __init__(self, on_death: OnDeath = OnDeath.STOP, spawn: Spawner = spawn_process) -> None:
        self._on_death = on_death
        self._spawn = spawn
        self._groups: list[list[Child]] = []
        self._observers: list[Callable[[Child], None]] = []
        self._watchers: dict[Child, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[Death] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def subscribe(self, observer: Callable[[Child], None]) -> None:
        """Call `observer` with each process that starts, becomes ready or dies."""
        self._observers.append(observer)

    @property
    def children(self) -> list[Child]:
        """All processes in the order of their start."""
        return [child for group in self._groups for child in group]

    async def start(self, *groups: Sequence[Program]) -> list[Child]:
        """Start all groups at once and wait until all are ready.

        Raises:
            ProcessError: a process did not become ready.
        """
        added = [[Child(program, self._spawn) for program in group] for group in groups]
        self._groups += added
        children = [child for group in added for child in group]
        for child in children:
            await child.start()
            self._notify(child)
        await abort_on_death(gather_or_cancel(self._wait_and_watch(child) for child in children), self.wait_failure())
        return children

    async def wait_failure(self) -> Death:
        """Wait for a death that `OnDeath.STOP` applies to."""
        return await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Stop the groups in the reverse order of their start."""
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        for group in reversed(self._groups):
            await asyncio.gather(*(child.stop() for child in group))

    async def restart(self, child: Child) -> None:
        """Start a process again that has died.

        Raises:
            ProcessError: it did not become ready.
        """
        await child.start()
        self._notify(child)
        await self._wait_and_watch(child)

    async def replace(self, child: Child, standby: Path) -> None:
        """Start a program again, in a new process that takes over from the present one when it has loaded all.

        The new process creates the file `standby`, which the variable STANDBY names to it, and waits until that is
        deleted: when the present process, which drains and is not taken for dead, has ended.

        Raises:
            ProcessError: the new process did not become ready. The present one continues, unless it had ended already.
        """
        program = child.program
        standby.unlink(missing_ok=True)
        waiting = dataclasses.replace(
            program, env={**program.env, STANDBY: str(standby)}, probe=partial(_exists, standby)
        )
        successor = Child(waiting, self._spawn)
        try:
            await successor.start()
            await successor.wait_ready()
            if watcher := self._watchers.pop(child, None):
                watcher.cancel()
            await child.stop()
        except ProcessDied as error:
            raise ProcessDied(dataclasses.replace(error.death, last_lines=_own_lines(successor))) from None
        except BaseException:
            successor.kill()
            raise
        self._groups = [[successor if one is child else one for one in group] for group in self._groups]
        standby.unlink()
        successor.program, successor.state, successor.starts = program, State.STARTING, child.starts + 1
        self._notify(successor)
        await self._wait_and_watch(successor)

    async def _wait_and_watch(self, child: Child) -> None:
        await self._wait_ready(child)
        self._watchers[child] = asyncio.create_task(self._watch(child), name=f"watch {child.program.name}")

    async def _wait_ready(self, child: Child) -> None:
        await child.wait_ready()
        self._notify(child)

    async def _watch(self, child: Child) -> None:
        death = await child.wait()
        self._notify(child)
        if self._on_death is OnDeath.RESTART:
            await self._keep_restarting(child)
        elif self._on_death is OnDeath.STOP and not self._failure.done():
            self._failure.set_result(death)

    async def _keep_restarting(self, child: Child) -> None:
        backoff = restart_backoff()
        while True:
            await asyncio.sleep(next(backoff))
            await child.start()
            self._notify(child)
            with suppress(ProcessError):
                await self._wait_ready(child)
            death = await child.wait()
            self._notify(child)
            if death.after > STABLE_SECONDS:
                backoff = restart_backoff()

    def _notify(self, child: Child) -> None:
        for observer in self._observers:
            observer(child)


def _own_lines(successor: Child) -> list[str]:
    """Return what a process wrote last to a log that it shares with a server: the server's lines are JSON."""
    return [line for line in successor.output().splitlines() if not line.startswith("{")][-LAST_LINES:]


async def _exists(path: Path) -> bool:
    return path.exists()
