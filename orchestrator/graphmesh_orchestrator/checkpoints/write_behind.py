"""What one execution of a run leaves to be stored, while it goes on.

LangGraph hands over a checkpoint and begins the next superstep. What its supersteps have left is stored together, some
milliseconds later or as soon as somebody waits for it. A crash takes the end of a trail, never its middle: the next
execution goes on from what is stored. Whoever must not run ahead of that waits until the trail is `settled`: an effect,
a question, the end of the run, and who reads what it has written.
"""

import asyncio
from types import TracebackType
from typing import Self

from graphmesh_chassis.errors import DependencyError, Fenced, ShuttingDown
from langchain_core.runnables import RunnableConfig

from graphmesh_orchestrator.checkpoints.config_keys import Claim
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit

TRAIL = "__graphmesh_trail"
"""In `configurable`: the `Trail` to which a graph leaves its checkpoints and its tasks' writes."""
LONGEST = 64
"""Entries that may be left and not stored; so much a graph may be ahead of its database."""
LONGEST_BYTES = 1024 * 1024
"""The same in bytes."""


class Trail:
    """A `Source` of what one writer leaves, in order, from `async with` to its end.

    After something that cannot be stored nothing more is, and whoever leaves or waits for something is told why. Where
    the claim's epoch is over, or the process ends without its database, the task that opened the trail is cancelled.
    """

    def __init__(self, commits: GroupCommit, claim: Claim) -> None:
        self._commits, self._claim = commits, claim
        self._left: list[Entry] = []
        self._bytes = 0
        self._wake = asyncio.Event()
        self._is_awaited = self._is_closed = self._has_content = False
        self._error: Exception | None = None
        self._next: asyncio.Future[None] | None = None
        """Done when what has been left by now is stored; none, where nothing is left that anybody would wait for."""
        self._underway: asyncio.Future[None] | None = None
        """The same for what is just being stored."""

    async def __aenter__(self) -> Self:
        owner = asyncio.current_task()
        self._writer = asyncio.create_task(self._write(), name=f"trail of {self._claim.run_id}")
        self._writer.add_done_callback(lambda _: owner.cancel() if owner and not self._is_closed else None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Store what is left, also where the process is to stop, or who waits for it here is cancelled. Raises Fenced
        where the claim's epoch is over."""
        self._is_closed = True
        self._wake.set()
        self._commits.look()
        await asyncio.shield(self._writer)

    @property
    def is_patient(self) -> bool:
        return not (self._is_awaited or self._is_closed)

    @property
    def has_checkpoint(self) -> bool:
        return not self.is_patient

    @property
    def is_empty(self) -> bool:
        return not self._left

    def taken(self) -> Entry:
        entries, self._left, self._bytes = self._left, [], 0
        self._underway, self._next, self._is_awaited = self._next, None, False
        self._has_content = bool(entries)
        return Entry.merged(self._claim, entries)

    async def leave(self, entry: Entry) -> None:
        """Leave an entry to be stored; returns at once, unless too much is left that is not. Raises as `settled`."""
        self._require_sound()
        self._left.append(entry)
        self._bytes += entry.bytes
        self._await_later()
        if len(self._left) >= LONGEST or self._bytes >= LONGEST_BYTES:
            await self.settled()

    async def settled(self) -> None:
        """Wait until all that was left is stored.

        Raises:
            Fenced: the claim's epoch is over.
            CheckpointConflict: another checkpoint follows the same parent as one that was left.
            ShuttingDown: the trail has ended.
        """
        if waiting := self._next or self._underway:
            self._is_awaited = self._next is not None
            self._commits.look()
            await asyncio.shield(waiting)
        self._require_sound()

    def stored(self) -> None:
        """What was taken last is stored."""

    def refused(self) -> None:
        """What was taken last cannot be stored."""

    def _await_later(self) -> None:
        """There is something to store that somebody may wait for."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._wake.set()

    def _require_sound(self) -> None:
        if self._error:
            raise self._error

    async def _write(self) -> None:
        try:
            while not (self._is_closed and self.is_empty):
                await self._wake.wait()
                self._wake.clear()
                if not self.is_empty:
                    await self._store()
        finally:
            self._fail(ShuttingDown())

    async def _store(self) -> None:
        try:
            await self._commits.store(self)
        except Exception as error:
            self._fail(error)
            if isinstance(error, Fenced | DependencyError) or not self._has_content:
                raise
            self.refused()
        else:
            self.stored()
        finally:
            underway, self._underway = self._underway, None
            _wake(underway)

    def _fail(self, error: Exception) -> None:
        """Nothing more of the trail is stored."""
        self._error = self._error or error
        self._left, self._bytes = [], 0
        waiting, self._next = self._next, None
        _wake(waiting)


def trail_of(config: RunnableConfig) -> Trail | None:
    trail: Trail | None = config["configurable"].get(TRAIL)
    return trail


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting:
        waiting.set_result(None)
