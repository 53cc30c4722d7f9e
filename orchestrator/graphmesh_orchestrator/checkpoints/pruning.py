"""Copying and taking away: whole threads, what runs wrote, what is old."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import Head, pack, unpack
from graphmesh_orchestrator.checkpoints.large_values import Slot, referred
from graphmesh_orchestrator.checkpoints.queries import WITHOUT_DATA
from graphmesh_orchestrator.checkpoints.tables import artifacts, checkpoints, task_writes

LOG = (checkpoints, task_writes)
AT_ONCE = 500
"""Rows that one statement names."""


async def delete_threads(connection: AsyncConnection, thread_ids: Sequence[str]) -> None:
    for table in (*LOG, artifacts):
        await connection.execute(sa.delete(table).where(table.c.thread_id.in_(thread_ids)))


async def copy_thread(connection: AsyncConnection, source: str, target: str) -> None:
    """Copy a thread with all that its checkpoints are rebuilt from. No run has written the copy."""
    for table in (*LOG, artifacts):
        await copy_rows(connection, table, source, target)


async def copy_rows(
    connection: AsyncConnection, table: sa.Table, source: str, target: str, *which: sa.ColumnElement[bool]
) -> None:
    """Copy the rows of a thread, or those of them for which `which` holds. No run has written the copies."""
    names = [column.name for column in table.c if column.name != "run_id"]
    values = [sa.literal(target) if name == "thread_id" else table.c[name] for name in names]
    rows = sa.select(*values).where(table.c.thread_id == source, *which)
    await connection.execute(sa.insert(table).from_select(names, rows))


async def delete_runs(connection: AsyncConnection, serde: SerializerProtocol, run_ids: Sequence[str]) -> set[str]:
    """Delete what runs wrote. Returns the threads."""
    ours = [sa.select(table.c.thread_id, table.c.ns).where(table.c.run_id.in_(run_ids)) for table in LOG]
    places = [(row.thread_id, row.ns) for row in await connection.execute(sa.union(*ours))]
    threads = {thread_id for thread_id, _ in places}
    stamps = await _stamps(connection, threads)
    for thread_id, ns in places:
        rows = await _rows(connection, thread_id, ns)
        kept = {row.checkpoint_id for row in rows if row.run_id not in run_ids and row.head is not None}
        await _keep(connection, serde, rows, kept)
    await connection.execute(sa.delete(task_writes).where(task_writes.c.run_id.in_(run_ids)))
    await _drop_unreferred(connection, stamps)
    return threads


async def keep_latest(connection: AsyncConnection, serde: SerializerProtocol, thread_ids: Sequence[str]) -> None:
    """Take away all but each namespace's newest checkpoint, and what that is rebuilt from.

    A run that goes on from the newest is not disturbed; one that was begun at an older checkpoint would be.
    """
    stamps = await _stamps(connection, thread_ids)
    query = sa.select(checkpoints.c.thread_id, checkpoints.c.ns).where(checkpoints.c.thread_id.in_(thread_ids))
    for thread_id, ns in (await connection.execute(query.distinct())).all():
        rows = await _rows(connection, thread_id, ns)
        heads = {row.checkpoint_id: Head.unpacked(serde, row.head) for row in rows if row.head is not None}
        parents = {row.checkpoint_id: row.parent_id for row in rows}
        if heads:
            await _keep(connection, serde, rows, _rebuilt_from(next(reversed(heads)), heads, parents))
    await _drop_unreferred(connection, stamps)


async def _stamps(connection: AsyncConnection, thread_ids: Collection[str]) -> Mapping[tuple[str, str], int]:
    """The stamps of the values that are stored aside, by thread and name."""
    query = sa.select(artifacts.c.thread_id, artifacts.c.name, artifacts.c.stamp)
    values = query.where(artifacts.c.thread_id.in_(thread_ids), artifacts.c.name.startswith("value:"))
    return {(row.thread_id, row.name): row.stamp for row in await connection.execute(values)}


async def _drop_unreferred(connection: AsyncConnection, stamps: Mapping[tuple[str, str], int]) -> None:
    """Take away the values that had these stamps before and that no row refers to.

    A writer who refers to one meanwhile has either been seen, or changes its stamp, or stores it again.
    """
    referred_to = await _referred(connection, {thread_id for thread_id, _ in stamps})
    gone = [(*key, stamp) for key, stamp in stamps.items() if key not in referred_to]
    for start in range(0, len(gone), AT_ONCE):
        found = sa.tuple_(artifacts.c.thread_id, artifacts.c.name, artifacts.c.stamp)
        await connection.execute(sa.delete(artifacts).where(found.in_(gone[start : start + AT_ONCE])))


async def _referred(connection: AsyncConnection, thread_ids: Collection[str]) -> set[tuple[str, str]]:
    """The artifacts that rows refer to, by thread and name."""
    found: set[tuple[str, str]] = set()
    for table in LOG:
        query = sa.select(table.c.thread_id, table.c.refers).where(table.c.thread_id.in_(thread_ids))
        for row in await connection.execute(query.where(table.c.refers.is_not(None))):
            found.update((row.thread_id, name) for name in row.refers)
    return found


def _rebuilt_from(latest: str, heads: Mapping[str, Head], parents: Mapping[str, str | None]) -> set[str]:
    """A checkpoint and its ancestors, back to where each of its delta channels has a value: their writes make it."""
    kept: set[str] = set()
    at: str | None = latest
    missing = set(heads[latest].metadata.get("counters_since_delta_snapshot", {}))
    while at is not None and at in heads and at not in kept:
        kept.add(at)
        missing -= heads[at].homes.keys()
        at = parents[at] if missing else None
    return kept


async def _rows(connection: AsyncConnection, thread_id: str, ns: str) -> Sequence[sa.Row[Any]]:
    """The rows of a namespace in their order, locked."""
    query = sa.select(*WITHOUT_DATA).where(checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns)
    return (await connection.execute(query.order_by(checkpoints.c.stamp).with_for_update())).all()


async def _keep(
    connection: AsyncConnection, serde: SerializerProtocol, rows: Sequence[sa.Row[Any]], kept: Collection[str]
) -> None:
    """Take away the other rows, or only their heads where a kept checkpoint has values in them.

    A run that goes on meanwhile shares values only with what is kept, so it is not disturbed.
    """
    needed: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.checkpoint_id in kept:
            for channel, home in Head.unpacked(serde, row.head).homes.items():
                needed[home].add(channel)
    gone = [row for row in rows if row.checkpoint_id not in kept]
    for row in gone:
        if row.checkpoint_id in needed:
            await _behead(connection, serde, row, needed[row.checkpoint_id])
    for table in LOG:
        spared = needed if table is checkpoints else ()
        ids = [row.checkpoint_id for row in gone if row.checkpoint_id not in spared]
        for start in range(0, len(ids), AT_ONCE):
            part = table.c.checkpoint_id.in_(ids[start : start + AT_ONCE])
            same = (table.c.thread_id == gone[0].thread_id, table.c.ns == gone[0].ns)
            await connection.execute(sa.delete(table).where(*same, part))


async def _behead(
    connection: AsyncConnection, serde: SerializerProtocol, row: sa.Row[Any], channels: Collection[str]
) -> None:
    """Keep of a row only the values of `channels`."""
    match = [column == getattr(row, column.name) for column in checkpoints.primary_key]
    data = (await connection.execute(sa.select(checkpoints.c.data).where(*match))).scalar_one()
    slots: dict[str, Slot] = {name: slot for name, slot in unpack(serde, data).items() if name in channels}
    bare = dict.fromkeys(("head", "parent_id", "follows", "run_id"))
    kept = {"data": pack(serde, slots), "refers": referred(slots.values())}
    await connection.execute(sa.update(checkpoints).where(*match).values(**bare, **kept))
