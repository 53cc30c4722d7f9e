"""Processes in groups: started together, watched, and stopped group by group."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

from graphmesh_local.child_process import Child, Death, ProcessError, Program, together, unless_dead
from graphmesh_local.spawning import Spawn, execute

SETTLED = 30.0
"""Seconds that a process must live for its next restart to be quick again."""


class OnDeath(Enum):
    """What the death of one process means for the others."""

    STOP = "stop"
    """All are to be stopped."""
    KEEP_GOING = "keep going"
    """The others keep running without it."""
    RESTART = "restart"
    """It is started again, each time after a longer pause."""


def pauses() -> Iterator[float]:
    """Seconds before each restart of a process that keeps dying."""
    for attempt in range(6):
        yield 0.25 * 2**attempt
    while True:
        yield 10.0


class Supervisor:
    """Processes in groups: started together, stopped group by group in the reverse order."""

    def __init__(
        self,
        on_death: OnDeath = OnDeath.STOP,
        on_change: Callable[[Child], None] = lambda child: None,
        spawn: Spawn = execute,
    ) -> None:
        """`on_change` is told of each process that starts, becomes ready or dies."""
        self._on_death = on_death
        self._on_change = on_change
        self._spawn = spawn
        self._groups: list[list[Child]] = []
        self._guards: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[Death] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def children(self) -> list[Child]:
        """All processes in the order of their start."""
        return [child for group in self._groups for child in group]

    async def start(self, *groups: Sequence[Program]) -> list[Child]:
        """Start all groups at once and wait until all are ready.

        Raises:
            ProcessError: one of them could not be brought up.
        """
        added = [[Child(program, self._spawn) for program in group] for group in groups]
        self._groups += added
        children = [child for group in added for child in group]
        for child in children:
            await child.start()
            self._on_change(child)
        await unless_dead(together(self._bring_up(child) for child in children), self.failure())
        return children

    async def failure(self) -> Death:
        """Wait for a death after which all are to be stopped."""
        return await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Stop the groups in the reverse order of their start."""
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        for group in reversed(self._groups):
            await asyncio.gather(*(child.stop() for child in group))

    async def revive(self, child: Child) -> None:
        """Start a process again that has died. Raises ProcessError where it cannot be brought up."""
        await child.start()
        self._on_change(child)
        await self._bring_up(child)

    async def _bring_up(self, child: Child) -> None:
        await self._ready(child)
        self._guards.add(asyncio.create_task(self._guard(child), name=f"guard {child.program.name}"))

    async def _ready(self, child: Child) -> None:
        await child.ready()
        self._on_change(child)

    async def _guard(self, child: Child) -> None:
        death = await child.death()
        self._on_change(child)
        if self._on_death is OnDeath.RESTART:
            await self._keep_restarting(child)
        elif self._on_death is OnDeath.STOP and not self._failure.done():
            self._failure.set_result(death)

    async def _keep_restarting(self, child: Child) -> None:
        pause = pauses()
        while True:
            await asyncio.sleep(next(pause))
            await child.start()
            self._on_change(child)
            with suppress(ProcessError):
                await self._ready(child)
            death = await child.death()
            self._on_change(child)
            if death.after > SETTLED:
                pause = pauses()
