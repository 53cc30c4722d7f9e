"""Reads the values and the task writes of checkpoints from the rows of the log."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef
from graphmesh_orchestrator.checkpoints.encoding import Head, merge_writes, unpack
from graphmesh_orchestrator.checkpoints.large_values import StoredValue, ValueReader
from graphmesh_orchestrator.checkpoints.packing import unpack_aside
from graphmesh_orchestrator.checkpoints.stamps import STAMPS
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes

HeadRow = tuple[sa.Row[Any], Head]
"""A row without its data, and its head."""
Namespace = tuple[str, str]
"""A thread and a namespace of it."""
Values = Mapping[str, Mapping[str, Any]]
"""By the id of the row that holds them, and by channel."""


def ref_of(row: sa.Row[Any]) -> CheckpointRef:
    return CheckpointRef(row.thread_id, row.ns, row.checkpoint_id)


async def read_values(
    connection: AsyncConnection, serde: SerializerProtocol, head_rows: Sequence[HeadRow]
) -> Mapping[Namespace, Values]:
    """Return the values of checkpoints by thread and namespace. Values of no head are not unpacked."""
    channels: defaultdict[Namespace, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row, head in head_rows:
        for channel, value_row in head.value_rows.items():
            channels[row.thread_id, row.ns][value_row].add(channel)
    values: defaultdict[Namespace, Values] = defaultdict(dict)
    for namespace, by_row in channels.items():
        values[namespace] = await _read_value_rows(connection, serde, namespace, by_row)
    return values


async def _read_value_rows(
    connection: AsyncConnection, serde: SerializerProtocol, namespace: Namespace, channels: Mapping[str, set[str]]
) -> Values:
    """Return the values of rows; `channels` are by row."""
    thread_id, ns = namespace
    query = sa.select(checkpoints.c.checkpoint_id, checkpoints.c.data).where(
        checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns, checkpoints.c.checkpoint_id.in_(channels)
    )
    stored: dict[str, dict[str, StoredValue]] = {}
    for row in await connection.execute(query):
        data: dict[str, StoredValue] = unpack(serde, row.data)
        stored[row.checkpoint_id] = {channel: data[channel] for channel in channels[row.checkpoint_id]}
    in_rows = _values_in(stored.values())
    reader = await ValueReader.of(connection, serde, thread_id, in_rows)
    return await unpack_aside(reader, in_rows, lambda reader: _unpacked(reader, stored))


def _unpacked(reader: ValueReader, rows: Mapping[str, Mapping[str, StoredValue]]) -> Values:
    return {
        row: {channel: reader.unpack(channel, value) for channel, value in values.items()}
        for row, values in rows.items()
    }


def _values_in(rows: Iterable[Mapping[str, StoredValue]]) -> list[StoredValue]:
    return [value for row in rows for value in row.values()]


def tuple_of(
    row: sa.Row[Any], head: Head, checkpoint: Checkpoint, writes: list[PendingWrite], tenant: str | None = None
) -> CheckpointTuple:
    """Return a checkpoint, whose configs are of `tenant` if it is given."""
    ref = ref_of(row)
    parent = ref.with_id(row.parent_id).config(tenant) if row.parent_id else None
    return CheckpointTuple(ref.config(tenant), checkpoint, head.metadata, parent, writes)


async def read_writes(
    connection: AsyncConnection,
    serde: SerializerProtocol,
    refs: Collection[CheckpointRef],
    channels: Collection[str] | None = None,
) -> Mapping[CheckpointRef, list[PendingWrite]]:
    """Return the task writes of checkpoints, or those to `channels`, in the order in which they are applied."""
    ids: defaultdict[Namespace, list[str]] = defaultdict(list)
    for ref in refs:
        ids[ref.thread_id, ref.ns].append(ref.checkpoint_id or "")
    writes: dict[CheckpointRef, list[PendingWrite]] = {}
    for namespace, checkpoint_ids in ids.items():
        writes |= await _read_writes(connection, serde, namespace, checkpoint_ids, channels)
    return defaultdict(list, writes)


async def _read_writes(
    connection: AsyncConnection,
    serde: SerializerProtocol,
    namespace: Namespace,
    checkpoint_ids: Sequence[str],
    channels: Collection[str] | None,
) -> dict[CheckpointRef, list[PendingWrite]]:
    thread_id, ns = namespace
    query = sa.select(task_writes).where(
        task_writes.c.thread_id == thread_id, task_writes.c.ns == ns, task_writes.c.checkpoint_id.in_(checkpoint_ids)
    )
    rows: defaultdict[CheckpointRef, list[Any]] = defaultdict(list)
    for row in await connection.execute(query.order_by(task_writes.c.stamp)):
        STAMPS.observe(row.stamp)
        rows[ref_of(row)].append((row.task_id, row.task_path, unpack(serde, row.data)))
    merged = {ref: _to(channels, merge_writes(task_rows)) for ref, task_rows in rows.items()}
    stored = [value for writes in merged.values() for _, _, value in writes]
    reader = await ValueReader.of(connection, serde, thread_id, stored)
    return await unpack_aside(reader, stored, lambda reader: _unpacked_writes(reader, merged))


def _unpacked_writes(
    reader: ValueReader, merged: Mapping[CheckpointRef, list[PendingWrite]]
) -> dict[CheckpointRef, list[PendingWrite]]:
    return {
        ref: [(task_id, channel, reader.unpack(channel, value)) for task_id, channel, value in writes]
        for ref, writes in merged.items()
    }


def _to(channels: Collection[str] | None, writes: list[PendingWrite]) -> list[PendingWrite]:
    return writes if channels is None else [write for write in writes if write[1] in channels]
