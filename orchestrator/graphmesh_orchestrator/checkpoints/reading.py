"""Values and task writes out of the rows of the log."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.base import PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import Place
from graphmesh_orchestrator.checkpoints.encoding import Head, merged, unpack
from graphmesh_orchestrator.checkpoints.large_values import Contents, Slot
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes

Found = tuple[sa.Row[Any], Head]
"""A row without its data, and its head."""
Values = Mapping[str, Mapping[str, Any]]
"""By the id of the row that holds them and by channel."""


async def values_of(
    connection: AsyncConnection, serde: SerializerProtocol, found: Sequence[Found]
) -> Mapping[tuple[str, str], Values]:
    """The values of checkpoints, by thread and namespace. What no checkpoint has any more is not unpacked."""
    wanted: defaultdict[tuple[str, str], defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row, head in found:
        for channel, home in head.homes.items():
            wanted[row.thread_id, row.ns][home].add(channel)
    values: defaultdict[tuple[str, str], Values] = defaultdict(dict)
    for (thread_id, ns), homes in wanted.items():
        values[thread_id, ns] = await _homes(connection, serde, (thread_id, ns), homes)
    return values


async def _homes(
    connection: AsyncConnection, serde: SerializerProtocol, where: tuple[str, str], wanted: Mapping[str, set[str]]
) -> Values:
    thread_id, ns = where
    query = sa.select(checkpoints.c.checkpoint_id, checkpoints.c.data).where(
        checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns, checkpoints.c.checkpoint_id.in_(wanted)
    )
    slots: dict[str, dict[str, Slot]] = {}
    for row in await connection.execute(query):
        held: dict[str, Slot] = unpack(serde, row.data)
        slots[row.checkpoint_id] = {channel: held[channel] for channel in wanted[row.checkpoint_id]}
    contents = await Contents.of(connection, serde, thread_id, _all(slots.values()))
    return {home: {name: contents.value(slot) for name, slot in held.items()} for home, held in slots.items()}


def _all(rows: Iterable[Mapping[str, Slot]]) -> list[Slot]:
    return [slot for row in rows for slot in row.values()]


async def writes_of(
    connection: AsyncConnection, serde: SerializerProtocol, places: Collection[Place]
) -> Mapping[Place, list[PendingWrite]]:
    """The task writes of checkpoints, in the order in which they are applied."""
    ids: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for place in places:
        ids[place.thread_id, place.ns].append(place.checkpoint_id or "")
    writes: dict[Place, list[PendingWrite]] = {}
    for where, wanted in ids.items():
        writes |= await _writes(connection, serde, where, wanted)
    return defaultdict(list, writes)


async def _writes(
    connection: AsyncConnection, serde: SerializerProtocol, where: tuple[str, str], wanted: Sequence[str]
) -> dict[Place, list[PendingWrite]]:
    thread_id, ns = where
    query = sa.select(task_writes).where(
        task_writes.c.thread_id == thread_id, task_writes.c.ns == ns, task_writes.c.checkpoint_id.in_(wanted)
    )
    stored: defaultdict[Place, list[Any]] = defaultdict(list)
    for row in await connection.execute(query.order_by(task_writes.c.stamp)):
        place = Place(thread_id, ns, row.checkpoint_id)
        stored[place].append((row.task_id, row.task_path, unpack(serde, row.data)))
    kept = {place: merged(rows) for place, rows in stored.items()}
    slots = [slot for writes in kept.values() for _, _, slot in writes]
    contents = await Contents.of(connection, serde, thread_id, slots)
    return {
        place: [(task_id, channel, contents.value(slot)) for task_id, channel, slot in writes]
        for place, writes in kept.items()
    }
