"""A batch writer that a test controls, for suites that use the group commit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_orchestrator.checkpoints.batch_writer import BatchWriter, Outcome
from graphmesh_orchestrator.checkpoints.entries import Entry

Action = Callable[[], Awaitable[None]]


class ControlledWriter:
    """Writes batches by another writer, and counts, holds or fails them, or lets something happen in between.

    writer = ControlledWriter(SqlBatchWriter(database))
    async with GroupCommit(writer, retry_seconds=0.01).running() as commits:
        writer.fail(2)
        await commits.store(entry)  # the third attempt stores it
    """

    def __init__(self, writer: BatchWriter) -> None:
        self._writer = writer
        self.batches: list[Sequence[Entry]] = []
        """The batches of all attempts, failed ones included."""
        self._is_released = asyncio.Event()
        self._is_released.set()
        self._failures, self._lost_outcomes = 0, 0
        self._before: list[Action] = []
        self._after: list[Action] = []

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        self.batches.append(entries)
        await self._is_released.wait()
        await _run(self._before)
        if self._failures:
            self._failures -= 1
            raise DatabaseUnavailable()
        outcomes = await self._writer.write(entries)
        await _run(self._after)
        if self._lost_outcomes:
            self._lost_outcomes -= 1
            raise DatabaseUnavailable()
        return outcomes

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write no batch while the body runs; the batch that arrives first waits for its end."""
        self._is_released.clear()
        try:
            yield
        finally:
            self._is_released.set()

    def fail(self, times: int) -> None:
        """Raise DatabaseUnavailable for the next batches, without writing them."""
        self._failures = times

    def lose_outcomes(self, times: int) -> None:
        """Write the next batches, and raise DatabaseUnavailable nevertheless, as where the connection is lost."""
        self._lost_outcomes = times

    def before_next(self, action: Action) -> None:
        """Run an action once, before the next batch is written. An error of it is one of the batch."""
        self._before.append(action)

    def after_next(self, action: Action) -> None:
        """Run an action once, when the next batch is committed and before its outcome is returned."""
        self._after.append(action)


async def _run(actions: list[Action]) -> None:
    while actions:
        await actions.pop(0)()
