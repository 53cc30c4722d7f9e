"""The group commit: entries of all runs of this process are stored in one transaction, under their epochs."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from graphmesh_chassis.errors import DependencyError, ShuttingDown
from graphmesh_chassis.tenant_turns import CURRENT_TENANT, turns_of, work_for_all

from graphmesh_orchestrator.checkpoints.batch_writer import BatchWriter, Outcome
from graphmesh_orchestrator.checkpoints.entries import Entry, Source

log = structlog.get_logger("graphmesh.checkpoints")

MAX_ENTRIES = 256
"""The most entries in one transaction."""
LARGE_BYTES = 256 * 1024
"""A larger entry waits for a transaction in which it is the only large one: so the small entries of other runs wait for
one large entry at most, and the statement of a transaction stays small."""
BUSY_BYTES = 16 * 1024
"""The bytes of a tenant in a transaction, from which on its further entries wait for the next one while the event loop
is overloaded: so the entries of other tenants wait for some rows of it, and not for all that it has."""
RETRY_SECONDS = 0.5
"""The wait between two attempts to reach the database."""
DEFER_SECONDS = 0.02
"""The delay of entries that no caller awaits, so that they share a transaction with their checkpoint."""
MAX_LOOP_TURNS = 16
"""Event-loop iterations to wait for the checkpoint that follows a task's writes. Each takes microseconds, and LangGraph
needs a few from the end of the last task to the checkpoint. A graph with delta channels awaits the writes first, so a
wait by the clock would delay it."""
MAX_LOOP_SECONDS = 0.002
"""The most time for these iterations: where the loop is busy, each takes as long as a step of other work."""
EVENT_LOOP_TURNS = 4
"""Event-loop iterations that a checkpoint waits for the events of its superstep, which another task adds."""


@dataclass(frozen=True)
class _Request:
    source: Source
    tenant: str
    done: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Write:
    entry: Entry
    done: "asyncio.Future[None]"


class GroupCommit:
    """Stores entries in batches. One a process, so that many runs share a transaction; several would be as correct.

    A checkpoint that arrives alone is stored at once; entries that arrive during a transaction share the next.
    """

    def __init__(
        self, writer: BatchWriter, *, defer_seconds: float = DEFER_SECONDS, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._writer, self._defer_seconds, self._retry_seconds = writer, defer_seconds, retry_seconds
        self._requests: list[_Request] = []
        self._woken = asyncio.Event()
        self._is_closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["GroupCommit"]:
        """Store entries while the body runs; at its end, store those that have arrived by then."""
        task = asyncio.create_task(self._run(), name="group commit")
        try:
            yield self
        finally:
            self._is_closing = True
            self._woken.set()
            await task

    async def store(self, source: Source) -> None:
        """See `Commits.store`. Raises ShuttingDown besides."""
        if self._is_closing:
            raise ShuttingDown()
        request = _Request(source, CURRENT_TENANT.get(), asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._woken.set()
        await request.done

    def wake(self) -> None:
        self._woken.set()

    async def _run(self) -> None:
        work_for_all()
        while self._requests or not self._is_closing:
            if not self._requests:
                await self._wait()
                continue
            await self._wait_for_checkpoint()
            await self._commit([_Write(request.source.take(), request.done) for request in self._next_batch()])

    async def _wait_for_checkpoint(self) -> None:
        """Delay entries that no caller awaits, so that they share a transaction with their superstep's checkpoint."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._defer_seconds):
                while all(request.source.is_deferrable for request in self._requests) and not self._is_closing:
                    await self._wait()
        until = time.monotonic() + MAX_LOOP_SECONDS
        for _ in range(MAX_LOOP_TURNS):
            if any(request.source.is_complete for request in self._requests) or time.monotonic() > until:
                break
            await asyncio.sleep(0)
        for _ in range(EVENT_LOOP_TURNS):
            if time.monotonic() > until:
                break
            await asyncio.sleep(0)

    def _next_batch(self) -> Sequence[_Request]:
        """Remove and return the requests of the next transaction: the first ones, without further large entries."""
        batch: list[_Request] = []
        later: list[_Request] = []
        has_large, limit, sizes = False, self._max_tenant_bytes(), Counter[str]()
        for request in self._requests:
            is_large = request.source.size > LARGE_BYTES
            is_full = len(batch) == MAX_ENTRIES or sizes[request.tenant] >= limit
            (later if is_full or (is_large and has_large) else batch).append(request)
            has_large = has_large or is_large
            sizes[request.tenant] += request.source.size
        self._requests = later
        return batch

    def _max_tenant_bytes(self) -> float:
        """The bytes from which on no further entries of a tenant have part in a transaction."""
        return BUSY_BYTES if turns_of(asyncio.get_running_loop()).is_overloaded else math.inf

    async def _wait(self) -> None:
        """Wait for a request or `wake`."""
        self._woken.clear()
        await self._woken.wait()

    async def _commit(self, batch: Sequence[_Write]) -> None:
        """Store a batch, however long the database is unavailable: storing the same rows again changes nothing."""
        while True:
            try:
                outcomes = await self._writer.write([write.entry for write in batch])
            except DependencyError as error:
                log.warning("checkpoints not stored yet", entries=len(batch), reason=error.reason)
                if self._is_closing:
                    return _resolve(batch, [error] * len(batch))
                await asyncio.sleep(self._retry_seconds)
            except Exception as error:
                return await self._commit_singly(batch, error)
            else:
                return _resolve(batch, outcomes)

    async def _commit_singly(self, batch: Sequence[_Write], error: Exception) -> None:
        """An entry that cannot be stored fails its own writer and no other."""
        if len(batch) == 1:
            return _resolve(batch, [error])
        for write in batch:
            await self._commit([write])
        return None


def _resolve(batch: Sequence[_Write], outcomes: Sequence[Outcome]) -> None:
    for write, error in zip(batch, outcomes, strict=True):
        if write.done.done():  # the caller was cancelled
            continue
        if error is None:
            write.done.set_result(None)
        else:
            write.done.set_exception(error)
