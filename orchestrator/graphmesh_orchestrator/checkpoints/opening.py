"""The first checkpoint of a thread that a run has just made: its input, for which nobody waits.

LangGraph goes on without it, and asks for the next one as soon as the input is in its channels. So it waits some
milliseconds, and both are stored together or not at all. An effect of a graph whose first node has one waits for it.
"""

import asyncio
from collections.abc import Callable

import structlog
from graphmesh_chassis.errors import Fenced, ShuttingDown

from graphmesh_orchestrator.checkpoints.commit import GroupCommit
from graphmesh_orchestrator.checkpoints.entries import Entry

log = structlog.get_logger("graphmesh.checkpoints")


class Opening:
    """A `Source` that grows by the checkpoint after it."""

    def __init__(self, commits: GroupCommit, first: Entry, failed: Callable[[], None]) -> None:
        """`failed` is called where it cannot be stored."""
        self._commits, self._entries, self._is_taken = commits, [first], False
        self._failed = failed
        self._storing = asyncio.create_task(commits.store(self), name="opening")
        self._storing.add_done_callback(self._ended)

    @property
    def is_patient(self) -> bool:
        return len(self._entries) == 1

    @property
    def has_checkpoint(self) -> bool:
        return not self.is_patient

    def taken(self) -> Entry:
        self._is_taken = True
        rows = [row for entry in self._entries for row in entry.checkpoints]
        artifacts = [row for entry in self._entries for row in entry.artifacts]
        return Entry(self._entries[0].claim, checkpoints=rows, artifacts=artifacts)

    async def stored(self) -> bool:
        """Wait until it is, or cannot be."""
        await asyncio.wait({self._storing})
        return not self._storing.cancelled() and self._storing.exception() is None

    async def store(self, following: Entry) -> None:
        """Store the checkpoint after it: with it, or where it has gone by then, after it. Raises as the commit does."""
        is_late = self._is_taken
        if not is_late:
            self._entries.append(following)
            self._commits.look()
        await asyncio.shield(self._storing)
        if is_late:
            await self._commits.store(following)

    def _ended(self, storing: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError() if storing.cancelled() else storing.exception()
        if error:
            self._failed()
        if error and not isinstance(error, Fenced | ShuttingDown | asyncio.CancelledError):
            log.error("the input of a run is not stored", exc_info=error)
