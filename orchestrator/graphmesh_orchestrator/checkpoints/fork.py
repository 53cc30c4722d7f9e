"""Copies a thread as it was at one of its checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.pruning import copy_rows
from graphmesh_orchestrator.checkpoints.queries import WITHOUT_DATA, in_batches
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import artifacts

Key = tuple[str, str]
"""A namespace and the id of a checkpoint in it."""


async def fork_thread(
    connection: AsyncConnection, serde: SerializerProtocol, source: str, target: str, checkpoint_id: str
) -> bool:
    """Copy a checkpoint, by default the newest, with its ancestors, their subgraphs', and the rows of their values.

    The writes of tasks after the checkpoint are copied only where it is the newest: a thread that is forked from an
    older checkpoint executes its next superstep again. The copies belong to no run.

    Returns:
        Whether there is such a checkpoint.
    """
    rows = await _lock_rows(connection, source)
    heads = {(row.ns, row.checkpoint_id): Head.unpacked(serde, row.head) for row in rows if row.head is not None}
    newest = next((row.checkpoint_id for row in reversed(rows) if row.ns == "" and row.head is not None), "")
    ancestry = _ancestry(rows, checkpoint_id or newest)
    copied = {key: head for key, head in heads.items() if _belongs_to(ancestry, key, head)}
    value_rows = {(ns, row) for (ns, _), head in copied.items() for row in head.value_rows.values()}
    without_writes = {("", checkpoint_id)} if checkpoint_id != newest else set()
    await _copy(connection, checkpoints, source, target, copied.keys() | value_rows)
    await _copy(connection, task_writes, source, target, copied.keys() - without_writes)
    await copy_rows(connection, artifacts, source, target)  # all: a state may have the URI of any earlier artifact
    return bool(ancestry)


async def _lock_rows(connection: AsyncConnection, thread_id: str) -> Sequence[sa.Row[Any]]:
    """Return the rows of a thread in their order, locked, so that pruning does not delete them meanwhile."""
    query = sa.select(*WITHOUT_DATA).where(checkpoints.c.thread_id == thread_id).order_by(checkpoints.c.stamp)
    return (await connection.execute(query.with_for_update())).all()


def _ancestry(rows: Sequence[sa.Row[Any]], checkpoint_id: str) -> set[str]:
    """Return the ids of a checkpoint of the graph itself and of its ancestors."""
    parents = {row.checkpoint_id: row.parent_id for row in rows if row.ns == "" and row.head is not None}
    ancestry: set[str] = set()
    ancestor: str | None = checkpoint_id
    while ancestor is not None and ancestor in parents and ancestor not in ancestry:
        ancestry.add(ancestor)
        ancestor = parents[ancestor]
    return ancestry


def _belongs_to(ancestry: set[str], key: Key, head: Head) -> bool:
    """Return whether a checkpoint is in the ancestry, or is a subgraph's under one that is."""
    ns, checkpoint_id = key
    parents: Mapping[str, str] = head.metadata.get("parents", {})
    return (parents.get("") if ns else checkpoint_id) in ancestry


async def _copy(connection: AsyncConnection, table: sa.Table, source: str, target: str, keys: set[Key]) -> None:
    for ns, ids in _by_namespace(keys):
        await copy_rows(connection, table, source, target, table.c.ns == ns, table.c.checkpoint_id.in_(ids))


def _by_namespace(keys: set[Key]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield namespaces with a batch of their ids."""
    by_ns: defaultdict[str, list[str]] = defaultdict(list)
    for ns, checkpoint_id in sorted(keys):
        by_ns[ns].append(checkpoint_id)
    for ns, ids in by_ns.items():
        for batch in in_batches(ids):
            yield ns, batch
