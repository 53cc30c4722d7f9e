"""Copies and deletes rows of the log: whole threads, the writes of runs, and all checkpoints but the newest."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.large_values import convert_aside
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import Head, pack, unpack
from graphmesh_orchestrator.checkpoints.large_values import StoredValue, artifact_names, with_bases
from graphmesh_orchestrator.checkpoints.packing import INLINE_BYTES
from graphmesh_orchestrator.checkpoints.queries import WITHOUT_DATA, in_batches
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import artifacts

LOG = (checkpoints, task_writes)


async def delete_threads(connection: AsyncConnection, thread_ids: Sequence[str]) -> None:
    for table in (*LOG, artifacts):
        await connection.execute(sa.delete(table).where(table.c.thread_id.in_(thread_ids)))


async def copy_thread(connection: AsyncConnection, source: str, target: str) -> None:
    """Copy a thread with all rows that its checkpoints are rebuilt from."""
    for table in LOG:
        await copy_rows(connection, table, source, target)
    await copy_rows(connection, artifacts, source, target, sa.not_(artifacts.c.name.startswith("output:")))


async def copy_rows(
    connection: AsyncConnection, table: sa.Table, source: str, target: str, *conditions: sa.ColumnElement[bool]
) -> None:
    """Copy the rows of a thread that meet the conditions. The copies belong to no run."""
    names = [column.name for column in table.c if column.name != "run_id"]
    values = [sa.literal(target) if name == "thread_id" else table.c[name] for name in names]
    rows = sa.select(*values).where(table.c.thread_id == source, *conditions)
    await connection.execute(sa.insert(table).from_select(names, rows))


async def delete_runs(connection: AsyncConnection, serde: SerializerProtocol, run_ids: Sequence[str]) -> set[str]:
    """Delete the checkpoints and writes of runs. Returns their threads."""
    written = [sa.select(table.c.thread_id, table.c.ns).where(table.c.run_id.in_(run_ids)) for table in LOG]
    namespaces = [(row.thread_id, row.ns) for row in await connection.execute(sa.union(*written))]
    threads = {thread_id for thread_id, _ in namespaces}
    stamps = await _value_stamps(connection, threads)
    for thread_id, ns in namespaces:
        rows = await _lock_rows(connection, thread_id, ns)
        kept = {row.checkpoint_id for row in rows if row.run_id not in run_ids and row.head is not None}
        await _keep_only(connection, serde, rows, kept)
    await connection.execute(sa.delete(task_writes).where(task_writes.c.run_id.in_(run_ids)))
    await _delete_unreferenced(connection, stamps)
    return threads


async def keep_latest(connection: AsyncConnection, serde: SerializerProtocol, thread_ids: Sequence[str]) -> None:
    """Delete all checkpoints but the newest of each namespace, and the rows that it is rebuilt from.

    A run that continues from the newest is not affected; one that began from an older checkpoint would be.
    """
    stamps = await _value_stamps(connection, thread_ids)
    query = sa.select(checkpoints.c.thread_id, checkpoints.c.ns).where(checkpoints.c.thread_id.in_(thread_ids))
    for thread_id, ns in (await connection.execute(query.distinct())).all():
        rows = await _lock_rows(connection, thread_id, ns)
        heads = await _heads_of(serde, rows)
        parents = {row.checkpoint_id: row.parent_id for row in rows}
        if heads:
            newest = next(reversed(heads))
            await _keep_only(connection, serde, rows, _needed_to_rebuild(newest, heads, parents))
    await _delete_unreferenced(connection, stamps)


async def _value_stamps(connection: AsyncConnection, thread_ids: Collection[str]) -> Mapping[tuple[str, str], int]:
    """Return the stamps of large values by thread and name."""
    query = sa.select(artifacts.c.thread_id, artifacts.c.name, artifacts.c.stamp)
    values = query.where(artifacts.c.thread_id.in_(thread_ids), artifacts.c.name.startswith("value:"))
    return {(row.thread_id, row.name): row.stamp for row in await connection.execute(values)}


async def _delete_unreferenced(connection: AsyncConnection, stamps: Mapping[tuple[str, str], int]) -> None:
    """Delete the large values that had these stamps before, and that no row refers to and no kept value extends.

    A writer that refers to one meanwhile has committed before the references are read, or it changes the stamp, or it
    stores the value again.
    """
    for thread_id in {thread_id for thread_id, _ in stamps}:
        referenced = await _referenced(connection, thread_id)
        bases = await _bases(connection, thread_id)
        names = {name for thread, name in stamps if thread == thread_id} - with_bases(referenced, bases)
        touched = await _lock_touched(connection, thread_id, {name: stamps[thread_id, name] for name in names})
        for batch in in_batches(sorted(names - with_bases(touched, bases))):
            is_named = (artifacts.c.thread_id == thread_id, artifacts.c.name.in_(batch))
            await connection.execute(sa.delete(artifacts).where(*is_named))


async def _lock_touched(connection: AsyncConnection, thread_id: str, stamps: Mapping[str, int]) -> set[str]:
    """Lock artifacts, in the order in which writers store them. Returns those with another stamp by now."""
    touched: set[str] = set()
    for batch in in_batches(sorted(stamps)):
        query = sa.select(artifacts.c.name, artifacts.c.stamp).where(
            artifacts.c.thread_id == thread_id, artifacts.c.name.in_(batch)
        )
        rows = await connection.execute(query.order_by(artifacts.c.name).with_for_update())
        touched.update(row.name for row in rows if row.stamp != stamps[row.name])
    return touched


async def _referenced(connection: AsyncConnection, thread_id: str) -> set[str]:
    """Return the names of the artifacts that rows refer to."""
    referenced: set[str] = set()
    for table in LOG:
        query = sa.select(table.c.refers).where(table.c.thread_id == thread_id, table.c.refers.is_not(None))
        for row in await connection.execute(query):
            referenced.update(row.refers)
    return referenced


async def _bases(connection: AsyncConnection, thread_id: str) -> Mapping[str, str]:
    """Return the names of the artifacts that others extend, by the names of those."""
    query = sa.select(artifacts.c.name, artifacts.c.base)
    extending = query.where(artifacts.c.thread_id == thread_id, artifacts.c.base.is_not(None))
    return {row.name: row.base for row in await connection.execute(extending)}


def _needed_to_rebuild(newest: str, heads: Mapping[str, Head], parents: Mapping[str, str | None]) -> set[str]:
    """Return a checkpoint and its ancestors, back to a value of each delta channel: the writes since complete it."""
    needed: set[str] = set()
    checkpoint_id: str | None = newest
    without_value = set(heads[newest].metadata.get("counters_since_delta_snapshot", {}))
    while checkpoint_id is not None and checkpoint_id in heads and checkpoint_id not in needed:
        needed.add(checkpoint_id)
        without_value -= heads[checkpoint_id].value_rows.keys()
        checkpoint_id = parents[checkpoint_id] if without_value else None
    return needed


async def _lock_rows(connection: AsyncConnection, thread_id: str, ns: str) -> Sequence[sa.Row[Any]]:
    """Return the rows of a namespace in their order, locked."""
    query = sa.select(*WITHOUT_DATA).where(checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns)
    return (await connection.execute(query.order_by(checkpoints.c.stamp).with_for_update())).all()


async def _heads_of(serde: SerializerProtocol, rows: Sequence[sa.Row[Any]]) -> dict[str, Head]:
    """Return the heads of the checkpoints among rows of a namespace, by their ids."""
    packed = {row.checkpoint_id: row.head for row in rows if row.head is not None}
    is_large = sum(map(len, packed.values())) > INLINE_BYTES
    return await convert_aside(is_large, lambda: {name: Head.unpacked(serde, head) for name, head in packed.items()})


async def _keep_only(
    connection: AsyncConnection, serde: SerializerProtocol, rows: Sequence[sa.Row[Any]], kept: Collection[str]
) -> None:
    """Delete the other rows of a namespace, or only their heads where a kept checkpoint has values in them.

    A run that continues meanwhile shares values only with kept checkpoints, so it is not affected.
    """
    channels: defaultdict[str, set[str]] = defaultdict(set)
    for head in (await _heads_of(serde, [row for row in rows if row.checkpoint_id in kept])).values():
        for channel, value_row in head.value_rows.items():
            channels[value_row].add(channel)
    others = [row for row in rows if row.checkpoint_id not in kept]
    for row in others:
        if row.checkpoint_id in channels:
            await _drop_head(connection, serde, row, channels[row.checkpoint_id])
    for table in LOG:
        value_rows = channels if table is checkpoints else ()
        ids = [row.checkpoint_id for row in others if row.checkpoint_id not in value_rows]
        for batch in in_batches(ids):
            in_namespace = (table.c.thread_id == others[0].thread_id, table.c.ns == others[0].ns)
            await connection.execute(sa.delete(table).where(*in_namespace, table.c.checkpoint_id.in_(batch)))


async def _drop_head(
    connection: AsyncConnection, serde: SerializerProtocol, row: sa.Row[Any], channels: Collection[str]
) -> None:
    """Reduce a row to the values of `channels`; it is not a checkpoint any more."""
    is_row = [column == getattr(row, column.name) for column in checkpoints.primary_key]
    data = (await connection.execute(sa.select(checkpoints.c.data).where(*is_row))).scalar_one()
    values: dict[str, StoredValue] = {name: value for name, value in unpack(serde, data).items() if name in channels}
    nulls = dict.fromkeys(("head", "parent_id", "follows", "run_id"))
    kept = {"data": pack(serde, values), "refers": artifact_names(values.values())}
    await connection.execute(sa.update(checkpoints).where(*is_row).values(**nulls, **kept))
