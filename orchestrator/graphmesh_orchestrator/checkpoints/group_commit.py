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
from graphmesh_chassis.telemetry.metrics import counter, histogram
from graphmesh_chassis.tenant_turns import CURRENT_TENANT, turns_of, work_for_all

from graphmesh_orchestrator.checkpoints.batch_writer import BatchWriter, Outcome
from graphmesh_orchestrator.checkpoints.entries import Entry, Source

COMMITS = histogram("graphmesh.checkpoints.commit", "s", "Transactions of the group commit that have been stored")
ENTRIES = histogram(
    "graphmesh.checkpoints.batch", "{entry}", "Entries of a transaction", buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)
BYTES = counter("graphmesh.checkpoints.written", "By", "Sizes of the entries that were handed to transactions")
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
DEFER_SECONDS, MAX_DEFER_SECONDS = 0.02, 0.1
"""The least and the most delay of entries that no caller awaits, so that a run stores several supersteps at once."""
DEFER_FACTOR = 20
"""The delay between these, by the duration of the last transaction: the slower they are, the fewer."""
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
    arrived: float
    """By the clock of the event loop."""
    done: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Write:
    entry: Entry
    done: "asyncio.Future[None]"


class GroupCommit:
    """Stores entries in batches. One a process, so that many runs share a transaction; several would be as correct.

    An entry that a caller awaits is stored at once, or after the transaction that is under way, with all other awaited
    ones. The others are left to wait until they are awaited too, or the oldest has been deferred for long enough.
    """

    def __init__(
        self, writer: BatchWriter, *, defer_seconds: float = DEFER_SECONDS, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._writer, self._defer_seconds, self._retry_seconds = writer, defer_seconds, retry_seconds
        self._requests: list[_Request] = []
        self._took = 0.0
        """The seconds of the last transaction."""
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
        loop = asyncio.get_running_loop()
        request = _Request(source, CURRENT_TENANT.get(), loop.time(), loop.create_future())
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
            is_awaited = await self._wait_until_due()
            await self._wait_for_checkpoint()
            batch = self._next_batch(only_awaited=is_awaited)
            BYTES.add(sum(request.source.size for request in batch), {})
            if writes := [write for request in batch if (write := _write_of(request))]:
                await self._commit(writes)

    async def _wait_until_due(self) -> bool:
        """Wait until an entry is awaited, or has been deferred for long enough.

        Returns whether only those that are awaited are to be stored.
        """
        oldest = next((request for request in self._requests if self._is_deferred(request)), None)
        if oldest is None:
            return True
        seconds = max(self._defer_seconds, min(DEFER_FACTOR * self._took, MAX_DEFER_SECONDS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(oldest.arrived + seconds):
                while all(map(self._is_deferred, self._requests)):
                    await self._wait()
                return asyncio.get_running_loop().time() < oldest.arrived + seconds
        return False

    def _is_deferred(self, request: _Request) -> bool:
        return request.source.is_deferrable and not self._is_closing

    async def _wait_for_checkpoint(self) -> None:
        """Let the writes of tasks share a transaction with their superstep's checkpoint."""
        until = time.monotonic() + MAX_LOOP_SECONDS
        for _ in range(MAX_LOOP_TURNS):
            if any(request.source.is_complete for request in self._requests) or time.monotonic() > until:
                break
            await asyncio.sleep(0)
        for _ in range(EVENT_LOOP_TURNS):
            if time.monotonic() > until:
                break
            await asyncio.sleep(0)

    def _next_batch(self, *, only_awaited: bool) -> Sequence[_Request]:
        """Remove and return the requests of the next transaction: the first ones, without further large entries."""
        batch: list[_Request] = []
        later: list[_Request] = []
        has_large, limit, sizes = False, self._max_tenant_bytes(), Counter[str]()
        for request in self._requests:
            is_large = request.source.size > LARGE_BYTES
            is_full = len(batch) == MAX_ENTRIES or sizes[request.tenant] >= limit
            waits = only_awaited and self._is_deferred(request)
            if waits or is_full or (is_large and has_large):
                later.append(request)
                continue
            batch.append(request)
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
            began = time.monotonic()
            try:
                outcomes = await self._writer.write([write.entry for write in batch])
                self._took = time.monotonic() - began
                COMMITS.record(self._took, {})
                ENTRIES.record(len(batch), {})
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


def _write_of(request: _Request) -> _Write | None:
    """Take the entry of a source; None where that fails, which concerns its own writer and no other."""
    try:
        return _Write(request.source.take(), request.done)
    except Exception as error:
        _end(request.done, error)
        return None


def _resolve(batch: Sequence[_Write], outcomes: Sequence[Outcome]) -> None:
    for write, error in zip(batch, outcomes, strict=True):
        _end(write.done, error)


def _end(done: "asyncio.Future[None]", error: Outcome) -> None:
    if done.done():  # the caller was cancelled
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
