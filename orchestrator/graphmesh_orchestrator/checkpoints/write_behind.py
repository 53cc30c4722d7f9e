"""The write-behind buffer of one execution: a graph runs ahead of its checkpoints.

LangGraph hands a checkpoint over and begins the next superstep. The checkpoints and writes of several supersteps are
stored together, some milliseconds later or as soon as a caller awaits them. A crash loses the end of the buffer, never
its middle: the next execution resumes from the stored entries. Effects, interrupts, the end of the run, and reads of
own writes must not run ahead: they wait for `flush`.
"""

import asyncio
from types import TracebackType
from typing import Self

from graphmesh_chassis.errors import DependencyError, Fenced, ShuttingDown
from graphmesh_contracts.keys import WRITE_BEHIND_KEY
from langchain_core.runnables import RunnableConfig

from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.entries import Commits, Entry

MAX_ENTRIES = 64
"""Entries that may be buffered: the most that a graph may run ahead of its database."""
MAX_BYTES = 1024 * 1024
"""The same in bytes."""


class WriteBehind:
    """A `Source` of the entries of one writer, in order, from `async with` to its end.

    After an entry that cannot be stored, no further one is, and `add` and `flush` raise the reason. Where the epoch is
    over, or the process stops without its database, the task that opened the buffer is cancelled.
    """

    def __init__(self, commits: Commits, run_epoch: RunEpoch) -> None:
        self._commits, self._run_epoch = commits, run_epoch
        self._entries: list[Entry] = []
        self._bytes = 0
        self._woken = asyncio.Event()
        self._is_awaited = self._is_closed = self._stores_entries = False
        self._error: Exception | None = None
        self._next: asyncio.Future[None] | None = None
        """Done when the entries that are buffered now are stored; None where no entry is buffered."""
        self._current: asyncio.Future[None] | None = None
        """The same for the entries that are being stored."""

    async def __aenter__(self) -> Self:
        owner = asyncio.current_task()
        self._writer = asyncio.create_task(self._write(), name=f"write-behind of {self._run_epoch.run_id}")
        self._writer.add_done_callback(lambda _: owner.cancel() if owner and not self._is_closed else None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Store the buffered entries, even if the process stops or this task is cancelled. Raises Fenced."""
        self._is_closed = True
        self._woken.set()
        self._commits.wake()
        await asyncio.shield(self._writer)

    @property
    def is_deferrable(self) -> bool:
        return not (self._is_awaited or self._is_closed)

    @property
    def is_complete(self) -> bool:
        return not self.is_deferrable

    @property
    def is_empty(self) -> bool:
        return not self._entries

    @property
    def size(self) -> int:
        return self._bytes

    def take(self) -> Entry:
        entries, self._entries, self._bytes = self._entries, [], 0
        self._current, self._next, self._is_awaited = self._next, None, False
        self._stores_entries = bool(entries)
        return Entry.merged(self._run_epoch, entries)

    async def add(self, entry: Entry) -> None:
        """Buffer an entry. Returns at once, unless the buffer is full. Raises as `flush`."""
        self._require_sound()
        self._entries.append(entry)
        self._bytes += entry.size
        self._request_store()
        if len(self._entries) >= MAX_ENTRIES or self._bytes >= MAX_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Wait until all entries are stored.

        Raises:
            Fenced: the epoch is no longer the run's.
            CheckpointConflict: another checkpoint follows the same parent as one of the entries.
            ShuttingDown: the buffer is closed.
        """
        if waiting := self._next or self._current:
            self._is_awaited = self._next is not None
            self._commits.wake()
            await asyncio.shield(waiting)
        self._require_sound()

    def on_stored(self) -> None:
        """Called when the entry that `take` has returned is stored."""

    def on_refused(self) -> bool:
        """Called when the entry that `take` has returned cannot be stored, and its checkpoints have been dropped.

        Returns whether anything was dropped, so that the rest may be stored.
        """
        return self._stores_entries

    def _request_store(self) -> None:
        if self._next is None and not self._writer.done():
            self._next = asyncio.get_running_loop().create_future()
        self._woken.set()

    def _require_sound(self) -> None:
        if self._error:
            raise self._error

    async def _write(self) -> None:
        try:
            while not (self._is_closed and self.is_empty):
                await self._woken.wait()
                self._woken.clear()
                if self.is_empty:
                    self._resolve_next()  # it was requested while the last entries were being stored
                else:
                    await self._store()
        finally:
            self._fail(ShuttingDown())

    async def _store(self) -> None:
        try:
            await self._commits.store(self)
        except Exception as error:
            self._fail(error)
            if isinstance(error, Fenced | DependencyError) or not self.on_refused():
                raise
        else:
            self.on_stored()
        finally:
            current, self._current = self._current, None
            _resolve(current)

    def _fail(self, error: Exception) -> None:
        """Drop the buffered entries, and refuse further ones."""
        self._error = self._error or error
        self._entries, self._bytes = [], 0
        self._resolve_next()

    def _resolve_next(self) -> None:
        waiting, self._next = self._next, None
        _resolve(waiting)


def write_behind_of(config: RunnableConfig) -> WriteBehind | None:
    """Return the buffer to which a graph adds its checkpoints and its tasks' writes; None: they are stored at once."""
    buffer: WriteBehind | None = config["configurable"].get(WRITE_BEHIND_KEY)
    return buffer


def _resolve(waiting: asyncio.Future[None] | None) -> None:
    if waiting:
        waiting.set_result(None)
