"""Reads the checkpoints of a thread for a listing: with all values, or as summaries. A bad one is marked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import INTERRUPT
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.queries import PAGE, select_before, select_older
from graphmesh_orchestrator.checkpoints.reading import HeadRow, read_values, read_writes, ref_of, tuple_of
from graphmesh_orchestrator.checkpoints.retry_reads import RETRY_SECONDS, retry_while_unavailable
from graphmesh_orchestrator.errors import StateUnreadable

BATCH_BYTES = 2 * 1024 * 1024
"""The most values that are read at once; one checkpoint may have more."""

Load = Callable[[AsyncConnection, Sequence[HeadRow]], Awaitable[Sequence[CheckpointTuple]]]
"""Reads the values and the writes of checkpoints, all or none."""

log = structlog.get_logger("graphmesh.checkpoints")


@dataclass(frozen=True)
class ListedCheckpoint:
    """A checkpoint of a listing."""

    ref: CheckpointRef
    parent_id: str
    found: CheckpointTuple | None
    """None where nothing of it can be read."""
    failure: str = ""
    """The reason for which it, or its values, cannot be read."""


class History:
    """The checkpoints of threads, of one graph or subgraph. Reads wait while the database is unavailable."""

    retry_seconds = RETRY_SECONDS

    def __init__(self, database: Database, serde: SerializerProtocol, load: Load) -> None:
        """`load` reads checkpoints with all their values and writes."""
        self._database, self._serde, self._load = database, serde, load

    async def read(
        self, thread_id: str, ns: str, before: str, deciding: Collection[str], *, is_basic: bool
    ) -> AsyncIterator[ListedCheckpoint]:
        """Yield the checkpoints before one, the newest first, some megabytes at a time. `before` may be empty.

        Where it `is_basic`, or where the values cannot be read, a checkpoint has the values of the `deciding` channels,
        None for each other value, and no writes but interrupts.
        """

        async def load_summaries(
            connection: AsyncConnection, head_rows: Sequence[HeadRow]
        ) -> Sequence[CheckpointTuple]:
            return await _load_summaries(connection, self._serde, head_rows, deciding)

        loads = [load_summaries] if is_basic else [self._load, load_summaries]
        async for rows in self._pages(thread_id, ns, before):
            heads = [self._read_head(row) for row in rows]
            for batch in [heads] if is_basic else _batches(heads):
                for listed in await self._read_batch(batch, loads):
                    yield listed

    async def _pages(self, thread_id: str, ns: str, before: str) -> AsyncIterator[Sequence[sa.Row[Any]]]:
        """Yield the rows without their data."""
        query = select_before(thread_id, ns, before)
        while rows := await self._rows(query):
            yield rows
            if len(rows) < PAGE:
                return
            query = select_older(rows[-1])

    @retry_while_unavailable
    async def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        return await self._database.rows(query)

    def _read_head(self, row: sa.Row[Any]) -> HeadRow | ListedCheckpoint:
        try:
            return row, Head.unpacked(self._serde, row.head)
        except Exception as error:
            return _listed(row, None, _failure(row, error))

    async def _read_batch(
        self, batch: Sequence[HeadRow | ListedCheckpoint], loads: Sequence[Load]
    ) -> Sequence[ListedCheckpoint]:
        """Read a batch at once; where that fails, each checkpoint by itself, so that only bad ones are marked."""
        head_rows = [one for one in batch if not isinstance(one, ListedCheckpoint)]
        try:
            tuples = iter(await self._load_all(head_rows, loads[0]))
        except DependencyError:
            raise
        except Exception:
            return [await self._read_one(one, loads) for one in batch]
        return [one if isinstance(one, ListedCheckpoint) else _listed(one[0], next(tuples)) for one in batch]

    async def _read_one(self, one: HeadRow | ListedCheckpoint, loads: Sequence[Load]) -> ListedCheckpoint:
        """Read a checkpoint by the first of `loads` that succeeds."""
        if isinstance(one, ListedCheckpoint):
            return one
        failure = ""
        for load in loads:
            try:
                [found] = await self._load_all([one], load)
                return _listed(one[0], found, failure)
            except DependencyError:
                raise
            except Exception as error:
                failure = failure or _failure(one[0], error)
        return _listed(one[0], None, failure)

    @retry_while_unavailable
    async def _load_all(self, head_rows: Sequence[HeadRow], load: Load) -> Sequence[CheckpointTuple]:
        if not head_rows:
            return []
        async with self._database.read() as connection:
            return await load(connection, head_rows)


async def _load_summaries(
    connection: AsyncConnection, serde: SerializerProtocol, head_rows: Sequence[HeadRow], channels: Collection[str]
) -> Sequence[CheckpointTuple]:
    needed = [(row, replace(head, value_rows=_only(head, channels))) for row, head in head_rows]
    values = await read_values(connection, serde, needed)
    writes = await read_writes(connection, serde, [ref_of(row) for row, _ in head_rows], {INTERRUPT})
    tuples = []
    for (row, head), (_, without) in zip(head_rows, needed, strict=True):
        checkpoint = without.with_values(values[row.thread_id, row.ns])
        checkpoint["channel_values"] = dict.fromkeys(head.value_rows) | checkpoint["channel_values"]
        tuples.append(tuple_of(row, head, checkpoint, writes[ref_of(row)]))
    return tuples


def _only(head: Head, channels: Collection[str]) -> dict[str, str]:
    return {channel: row for channel, row in head.value_rows.items() if channel in channels}


def _batches(
    heads: Sequence[HeadRow | ListedCheckpoint],
) -> Iterator[Sequence[HeadRow | ListedCheckpoint]]:
    """Split checkpoints into batches whose values have at most `BATCH_BYTES`."""
    batch: list[HeadRow | ListedCheckpoint] = []
    total = 0
    for one in heads:
        size = 0 if isinstance(one, ListedCheckpoint) else sum(one[1].sizes.values())
        if batch and total + size > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(one)
        total += size
    if batch:
        yield batch


def _listed(row: sa.Row[Any], found: CheckpointTuple | None, failure: str = "") -> ListedCheckpoint:
    return ListedCheckpoint(ref_of(row), row.parent_id or "", found, failure)


def _failure(row: sa.Row[Any], error: Exception) -> str:
    reason = error.reason if isinstance(error, GraphmeshError) else type(error).__name__
    if isinstance(error, StateUnreadable):
        reason = f"{reason}: in {error.data['channel']}, {error.data['cause']}"
    log.warning("a checkpoint cannot be read", thread=row.thread_id, checkpoint=row.checkpoint_id, reason=reason)
    return f"cannot be read: {reason}"
