"""LangGraph's checkpointer over the log."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DatabaseUnavailable
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import upkeep
from graphmesh_orchestrator.checkpoints.claims import HEAD, Place, claim_of
from graphmesh_orchestrator.checkpoints.commit import RETRY_SECONDS, Entry, GroupCommit
from graphmesh_orchestrator.checkpoints.encoding import Head, merged, numbered, pack, unpack
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("graphmesh.checkpoints")

KNOWN = 4096
"""Checkpoints whose heads are kept in memory, so that writing the next one reads nothing."""
PAGE = 64
"""Checkpoints that a listing reads at once."""


@dataclass(frozen=True, slots=True)
class _Parent:
    """What writing a checkpoint needs to know of the one before."""

    stamp: int
    versions: Mapping[str, Any]
    homes: Mapping[str, str]


def patient(read: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Read however long the database needs to come back, as the group commit writes: no run ends for that."""

    @wraps(read)
    async def reading(*args: P.args, **options: P.kwargs) -> T:
        while True:
            try:
                return await read(*args, **options)
            except DatabaseUnavailable as error:
                log.warning("a checkpoint waits to be read", reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS)

    return reading


class LogSaver(BaseCheckpointSaver[int]):
    """Checkpoints in SQL, written through a group commit. Async only.

    A config with a claim writes only while the claim's epoch is the run's; see `claims` for who may write without one.
    """

    def __init__(self, database: Database, commits: GroupCommit, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._database, self._commits = database, commits
        self._known: OrderedDict[Place, _Parent] = OrderedDict()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns when it is committed.

        Raises:
            Fenced: the claim's epoch is over.
            CheckpointConflict: another checkpoint follows the parent, which was read as the newest.
        """
        origin = Place.of(config)
        place = origin.at(checkpoint["id"])
        parent = await self._parent(origin)
        homes = _homes(checkpoint, new_versions, parent)
        head = Head.of(checkpoint, get_serializable_checkpoint_metadata(config, metadata), homes)
        stamp = max(time.time_ns(), parent.stamp + 1)
        values = checkpoint["channel_values"]
        row = {
            **_written(place, config, stamp, metadata.get("run_id")),
            "parent_id": origin.checkpoint_id,
            "follows": _follows(config, origin),
            "head": head.packed(self.serde),
            "data": pack(self.serde, {channel: values[channel] for channel in values if homes[channel] == head.id}),
        }
        await self._commits.store(Entry(claim=claim_of(config), checkpoint=row))
        self._know(place, _Parent(stamp, head.versions, homes))
        return place.config()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes; returns when they are committed. Raises Fenced."""
        row = {
            **_written(Place.of(config), config, time.time_ns()),
            "task_id": task_id,
            "task_path": task_path,
            "data": pack(self.serde, numbered(writes)),
        }
        await self._commits.store(Entry(claim=claim_of(config), writes=row))

    @patient
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = Place.of(config)
        query = _visible(place).order_by(checkpoints.c.stamp.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            [found] = await self._loaded(connection, [(row, Head.unpacked(self.serde, row.head))])
        marker = row.checkpoint_id if place.checkpoint_id is None else None
        if marker or HEAD in config["configurable"]:
            found.config["configurable"][HEAD] = marker
        return found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints that match, the newest first, read a page at a time."""
        query = _listed(config, before).order_by(checkpoints.c.stamp.desc(), checkpoints.c.checkpoint_id.desc())
        offset: tuple[int, str] | None = None
        while limit is None or limit > 0:
            page = query.where(sa.tuple_(*offset) > _ORDER) if offset else query
            async with self._database.read() as connection:
                rows = (await connection.execute(page.limit(PAGE))).all()
                heads = [(row, Head.unpacked(self.serde, row.head)) for row in rows]
                matching = [(row, head) for row, head in heads if _matches(head.metadata, filter or {})][:limit]
                found = await self._loaded(connection, matching)
            for one in found:
                yield one
            if len(rows) < PAGE:
                return
            limit = limit - len(found) if limit is not None else None
            offset = (rows[-1].stamp, rows[-1].checkpoint_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread. No run is active on it."""
        async with self._database.transaction() as connection:
            await upkeep.delete_threads(connection, [thread_id])
        self._forget({thread_id})

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what the runs wrote; the values that later checkpoints share with theirs stay. The runs have ended."""
        async with self._database.transaction() as connection:
            threads = await upkeep.delete_runs(connection, self.serde, run_ids)
        self._forget(threads)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        async with self._database.transaction() as connection:
            await upkeep.copy_thread(connection, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`delete` threads, or `keep_latest`: the newest checkpoint of each namespace, and what it is rebuilt from."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"no such strategy: {strategy}")
        async with self._database.transaction() as connection:
            if strategy == "delete":
                await upkeep.delete_threads(connection, thread_ids)
            else:
                await upkeep.keep_latest(connection, self.serde, thread_ids)
        self._forget(set(thread_ids))

    async def _loaded(
        self, connection: AsyncConnection, found: Sequence[tuple[sa.Row[Any], Head]]
    ) -> list[CheckpointTuple]:
        """Heads with their values and their pending writes."""
        rows = [row for row, _ in found]
        values = await self._values(connection, found)
        pending = await self._pending(connection, rows)
        tuples = []
        for row, head in found:
            place = Place(row.thread_id, row.ns, row.checkpoint_id)
            self._know(place, _Parent(row.stamp, head.versions, head.homes))
            checkpoint = head.filled(values[row.thread_id, row.ns])
            parent = place.at(row.parent_id).config() if row.parent_id else None
            tuples.append(CheckpointTuple(place.config(), checkpoint, head.metadata, parent, pending[place]))
        return tuples

    async def _values(
        self, connection: AsyncConnection, found: Sequence[tuple[sa.Row[Any], Head]]
    ) -> Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]:
        """The values by namespace, row and channel."""
        homes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for row, head in found:
            homes[row.thread_id, row.ns].update(head.homes.values())
        values: defaultdict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
        for (thread_id, ns), ids in homes.items():
            query = sa.select(checkpoints.c.checkpoint_id, checkpoints.c.data).where(
                checkpoints.c.thread_id == thread_id, checkpoints.c.ns == ns, checkpoints.c.checkpoint_id.in_(ids)
            )
            for holder in await connection.execute(query):
                values[thread_id, ns][holder.checkpoint_id] = unpack(self.serde, holder.data)
        return values

    async def _pending(
        self, connection: AsyncConnection, rows: Sequence[sa.Row[Any]]
    ) -> Mapping[Place, list[PendingWrite]]:
        ids: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for row in rows:
            ids[row.thread_id, row.ns].append(row.checkpoint_id)
        stored: defaultdict[Place, list[Any]] = defaultdict(list)
        for (thread_id, ns), wanted in ids.items():
            query = sa.select(task_writes).where(
                task_writes.c.thread_id == thread_id, task_writes.c.ns == ns, task_writes.c.checkpoint_id.in_(wanted)
            )
            for written in await connection.execute(query.order_by(task_writes.c.stamp)):
                writes = unpack(self.serde, written.data)
                stored[Place(thread_id, ns, written.checkpoint_id)].append((written.task_id, written.task_path, writes))
        return defaultdict(list, {place: merged(writes) for place, writes in stored.items()})

    @patient
    async def _parent(self, origin: Place) -> _Parent:
        """What is known of a checkpoint, or is read of it; of none, and of one that is gone, nothing."""
        if origin.checkpoint_id and origin not in self._known:
            async with self._database.read() as connection:
                row = (await connection.execute(_visible(origin))).one_or_none()
            if row is not None:
                head = Head.unpacked(self.serde, row.head)
                self._know(origin, _Parent(row.stamp, head.versions, head.homes))
        return self._known.get(origin, _Parent(0, {}, {}))

    def _know(self, place: Place, parent: _Parent) -> None:
        self._known[place] = parent
        self._known.move_to_end(place)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def _forget(self, threads: Collection[str]) -> None:
        for place in [place for place in self._known if place.thread_id in threads]:
            del self._known[place]


_WITHOUT_DATA = [column for column in checkpoints.c if column.name != "data"]
_HEADS = sa.select(*_WITHOUT_DATA).where(checkpoints.c.head.is_not(None))
_ORDER = sa.tuple_(checkpoints.c.stamp, checkpoints.c.checkpoint_id)


def _written(place: Place, config: RunnableConfig, stamp: int, run_id: str | None = None) -> dict[str, Any]:
    """The columns that checkpoints and task writes share. The claim says whose they are, else the metadata."""
    if claim := claim_of(config):
        run_id = claim.run_id
    return {
        "thread_id": place.thread_id,
        "ns": place.ns,
        "checkpoint_id": place.checkpoint_id,
        "run_id": run_id or config.get("metadata", {}).get("run_id"),
        "stamp": stamp,
    }


def _homes(checkpoint: Checkpoint, new_versions: ChannelVersions, parent: _Parent) -> dict[str, str]:
    """The row that holds each channel's value: the parent's where the channel has not changed since, else the own."""
    versions = checkpoint["channel_versions"]
    return {
        channel: parent.homes[channel]
        if channel in parent.homes and channel not in new_versions and parent.versions.get(channel) == versions[channel]
        else checkpoint["id"]
        for channel in checkpoint["channel_values"]
    }


def _follows(config: RunnableConfig, origin: Place) -> str | None:
    """The parent, or none, where no other checkpoint may follow it."""
    marker: str | None = config["configurable"].get(HEAD)
    return None if marker is None else (origin.checkpoint_id or "")


def _visible(place: Place) -> sa.Select[Any]:
    query = _HEADS.where(checkpoints.c.thread_id == place.thread_id, checkpoints.c.ns == place.ns)
    return query.where(checkpoints.c.checkpoint_id == place.checkpoint_id) if place.checkpoint_id else query


def _listed(config: RunnableConfig | None, before: RunnableConfig | None) -> sa.Select[Any]:
    query = _HEADS
    for column, key in ((checkpoints.c.thread_id, "thread_id"), (checkpoints.c.ns, "checkpoint_ns")):
        if config and key in config["configurable"]:
            query = query.where(column == str(config["configurable"][key]))
    if config and (wanted := config["configurable"].get("checkpoint_id")):
        query = query.where(checkpoints.c.checkpoint_id == wanted)
    if before and (place := Place.of(before)).checkpoint_id:
        query = query.where(_earlier_than(place))
    return query


def _earlier_than(place: Place) -> sa.ColumnElement[bool]:
    other = checkpoints.alias()
    match = (other.c.thread_id == place.thread_id, other.c.checkpoint_id == place.checkpoint_id)
    return checkpoints.c.stamp < sa.select(sa.func.min(other.c.stamp)).where(*match).scalar_subquery()


def _matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in metadata and metadata[key] == value for key, value in wanted.items())
