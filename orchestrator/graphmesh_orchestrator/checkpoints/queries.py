"""Which rows of the log are checkpoints, and which of them are asked for."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from langchain_core.runnables import RunnableConfig

from graphmesh_orchestrator.checkpoints.config_keys import Place
from graphmesh_orchestrator.checkpoints.tables import checkpoints

WITHOUT_DATA = [column for column in checkpoints.c if column.name != "data"]
ORDER = sa.tuple_(checkpoints.c.stamp, checkpoints.c.checkpoint_id)
_HEADS = sa.select(*WITHOUT_DATA).where(checkpoints.c.head.is_not(None))


def newest(place: Place) -> sa.Select[Any]:
    """The checkpoint at a place; where it names none, the newest there."""
    query = _within(place)
    if place.checkpoint_id:
        query = query.where(checkpoints.c.checkpoint_id == place.checkpoint_id)
    return query.order_by(checkpoints.c.stamp.desc()).limit(1)


def anywhere(place: Place) -> sa.Select[Any]:
    """A checkpoint by its id, in whatever namespace of its thread."""
    of_thread = _HEADS.where(checkpoints.c.thread_id == place.thread_id)
    return of_thread.where(checkpoints.c.checkpoint_id == place.checkpoint_id)


def older(row: sa.Row[Any], limit: int) -> sa.Select[Any]:
    """The checkpoints of the same namespace that are older, the newest first."""
    query = _within(Place(row.thread_id, row.ns, None)).where(sa.tuple_(row.stamp, row.checkpoint_id) > ORDER)
    return query.order_by(checkpoints.c.stamp.desc(), checkpoints.c.checkpoint_id.desc()).limit(limit)


def listed(config: RunnableConfig | None, before: RunnableConfig | None) -> sa.Select[Any]:
    """Those that a config matches, as LangGraph lists them: what it does not say may be anything."""
    query = _HEADS
    for column, key in ((checkpoints.c.thread_id, "thread_id"), (checkpoints.c.ns, "checkpoint_ns")):
        if config and key in config["configurable"]:
            query = query.where(column == str(config["configurable"][key]))
    if config and (wanted := config["configurable"].get("checkpoint_id")):
        query = query.where(checkpoints.c.checkpoint_id == wanted)
    if before and (place := Place.of(before)).checkpoint_id:
        query = query.where(_earlier_than(place))
    return query


def matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether metadata has what is wanted."""
    return all(key in metadata and metadata[key] == value for key, value in wanted.items())


def _within(place: Place) -> sa.Select[Any]:
    return _HEADS.where(checkpoints.c.thread_id == place.thread_id, checkpoints.c.ns == place.ns)


def _earlier_than(place: Place) -> sa.ColumnElement[bool]:
    other = checkpoints.alias()
    match = (other.c.thread_id == place.thread_id, other.c.checkpoint_id == place.checkpoint_id)
    return checkpoints.c.stamp < sa.select(sa.func.min(other.c.stamp)).where(*match).scalar_subquery()
