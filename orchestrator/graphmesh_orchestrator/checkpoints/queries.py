"""Queries of checkpoints, all without their data. Rows without a head are not checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from langchain_core.runnables import RunnableConfig

from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef, stored_thread
from graphmesh_orchestrator.checkpoints.tables import checkpoints

PAGE = 64
"""Checkpoints that are read at once."""
MAX_IDS = 500
"""The most ids in one statement."""
WITHOUT_DATA = [column for column in checkpoints.c if column.name != "data"]
ORDER = sa.tuple_(checkpoints.c.stamp, checkpoints.c.checkpoint_id)
"""The order of a thread's checkpoints."""
NEWEST_FIRST = (checkpoints.c.stamp.desc(), checkpoints.c.checkpoint_id.desc())
_HEADS = sa.select(*WITHOUT_DATA).where(checkpoints.c.head.is_not(None))


def select_checkpoint(ref: CheckpointRef) -> sa.Select[Any]:
    """Select the checkpoint of a reference."""
    query = _in_namespace(ref.thread_id, ref.ns)
    if ref.checkpoint_id:
        query = query.where(checkpoints.c.checkpoint_id == ref.checkpoint_id)
    return query.order_by(checkpoints.c.stamp.desc()).limit(1)


def select_newest_stamp(ref: CheckpointRef) -> sa.Select[Any]:
    """Select the highest stamp of the checkpoints in the namespace of a reference."""
    return sa.select(sa.func.max(_in_namespace(ref.thread_id, ref.ns).subquery().c.stamp))


def select_in_any_namespace(ref: CheckpointRef) -> sa.Select[Any]:
    """Select a checkpoint by its id, in any namespace of its thread."""
    return _HEADS.where(checkpoints.c.thread_id == ref.thread_id, checkpoints.c.checkpoint_id == ref.checkpoint_id)


def select_older(row: sa.Row[Any]) -> sa.Select[Any]:
    """Select a page of the checkpoints that precede a row in its namespace, the newest first."""
    query = _in_namespace(row.thread_id, row.ns).where(sa.tuple_(row.stamp, row.checkpoint_id) > ORDER)
    return query.order_by(*NEWEST_FIRST).limit(PAGE)


def select_before(thread_id: str, ns: str, before: str) -> sa.Select[Any]:
    """Select a page of the checkpoints of a namespace, or of those before one, the newest first."""
    query = _in_namespace(thread_id, ns)
    if before:
        query = query.where(_is_before(CheckpointRef(thread_id, ns, before)))
    return query.order_by(*NEWEST_FIRST).limit(PAGE)


def select_matching(config: RunnableConfig | None, before: RunnableConfig | None) -> sa.Select[Any]:
    """Select the checkpoints that match a config in all keys that it has, as LangGraph defines a listing."""
    query = _HEADS
    given = config["configurable"] if config else {}
    if "thread_id" in given:
        query = query.where(checkpoints.c.thread_id == stored_thread(given))
    if "checkpoint_ns" in given:
        query = query.where(checkpoints.c.ns == str(given["checkpoint_ns"]))
    if checkpoint_id := given.get("checkpoint_id"):
        query = query.where(checkpoints.c.checkpoint_id == checkpoint_id)
    if before and (ref := CheckpointRef.of(before)).checkpoint_id:
        query = query.where(_is_before(ref))
    return query


def has_metadata(metadata: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(key in metadata and metadata[key] == value for key, value in expected.items())


def in_batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Split ids into batches for one statement each."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def _in_namespace(thread_id: str, ns: str) -> sa.Select[Any]:
    return _HEADS.where(checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns)


def _is_before(ref: CheckpointRef) -> sa.ColumnElement[bool]:
    other = checkpoints.alias()
    is_named = (other.c.thread_id == ref.thread_id, other.c.checkpoint_id == ref.checkpoint_id)
    return checkpoints.c.stamp < sa.select(sa.func.min(other.c.stamp)).where(*is_named).scalar_subquery()
