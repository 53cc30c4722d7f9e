"""Copying a thread as it was at one of its checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.pruning import copy_rows
from graphmesh_orchestrator.checkpoints.tables import artifacts, checkpoints, task_writes

AT_ONCE = 500
"""Rows that one statement names."""


async def fork_thread(
    connection: AsyncConnection, serde: SerializerProtocol, source: str, target: str, checkpoint_id: str
) -> bool:
    """Copy a checkpoint, the newest where none is named, with those before it, of subgraphs too, and what they are
    rebuilt from. Returns whether there was one.

    What tasks wrote after it comes along only where it is the newest: a thread that is forked further back does again
    what came next. No run has written the copy.
    """
    rows = await _rows(connection, source)
    heads = {(row.ns, row.checkpoint_id): Head.unpacked(serde, row.head) for row in rows if row.head is not None}
    newest = next((row.checkpoint_id for row in reversed(rows) if row.ns == "" and row.head is not None), "")
    line = _line(rows, checkpoint_id or newest)
    kept = {key: head for key, head in heads.items() if _belongs(key, head, line)}
    values = {(ns, home) for (ns, _), head in kept.items() for home in head.homes.values()}
    undone = {("", checkpoint_id)} if checkpoint_id != newest else set()
    await _copy(connection, checkpoints, source, target, kept.keys() | values)
    await _copy(connection, task_writes, source, target, kept.keys() - undone)
    await copy_rows(connection, artifacts, source, target)  # all: a state may have the URI of any made before it
    return bool(line)


async def _rows(connection: AsyncConnection, thread_id: str) -> Sequence[sa.Row[Any]]:
    """The rows of a thread in their order, locked: nobody takes some of them away meanwhile."""
    columns = [column for column in checkpoints.c if column.name != "data"]
    query = sa.select(*columns).where(checkpoints.c.thread_id == thread_id).order_by(checkpoints.c.stamp)
    return (await connection.execute(query.with_for_update())).all()


def _line(rows: Sequence[sa.Row[Any]], checkpoint_id: str) -> set[str]:
    """A checkpoint of the graph itself, and its ancestors."""
    parents = {row.checkpoint_id: row.parent_id for row in rows if row.ns == "" and row.head is not None}
    line: set[str] = set()
    at: str | None = checkpoint_id
    while at is not None and at in parents and at not in line:
        line.add(at)
        at = parents[at]
    return line


def _belongs(key: tuple[str, str], head: Head, line: set[str]) -> bool:
    ns, checkpoint_id = key
    of: Mapping[str, str] = head.metadata.get("parents", {})
    return (of.get("") if ns else checkpoint_id) in line


async def _copy(
    connection: AsyncConnection, table: sa.Table, source: str, target: str, keys: set[tuple[str, str]]
) -> None:
    for ns, ids in _parts(keys):
        await copy_rows(connection, table, source, target, table.c.ns == ns, table.c.checkpoint_id.in_(ids))


def _parts(keys: set[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    by_ns: defaultdict[str, list[str]] = defaultdict(list)
    for ns, checkpoint_id in sorted(keys):
        by_ns[ns].append(checkpoint_id)
    for ns, ids in by_ns.items():
        for start in range(0, len(ids), AT_ONCE):
            yield ns, ids[start : start + AT_ONCE]
