"""LangGraph's checkpointer over the log."""

import copy
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import pruning as upkeep
from graphmesh_orchestrator.checkpoints.artifacts_sql import SqlArtifacts
from graphmesh_orchestrator.checkpoints.config_keys import HEAD, Place, claim_of, reads_blank
from graphmesh_orchestrator.checkpoints.delta_channels import History
from graphmesh_orchestrator.checkpoints.encoding import Head, numbered, pack
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit
from graphmesh_orchestrator.checkpoints.head_cache import Known
from graphmesh_orchestrator.checkpoints.large_values import Aside, Bounds, referred
from graphmesh_orchestrator.checkpoints.queries import ORDER, anywhere, listed, matches, newest
from graphmesh_orchestrator.checkpoints.reading import Found, values_of, writes_of
from graphmesh_orchestrator.checkpoints.retry_reads import patient
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, recorded_version
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.checkpoints.write_behind import Trail, trail_of
from graphmesh_orchestrator.checkpoints.writing import Parent, follows_of, homes_of, sizes_of, written

PAGE = 64
"""Checkpoints that a listing reads at once."""


class LogSaver(BaseCheckpointSaver[int]):
    """Checkpoints in SQL, written through a group commit. Async only.

    A config with a claim writes only while the claim's epoch is the run's; see `claims` for who may write without one.
    With a trail besides, what it writes is left to that, and waited for before it is read.
    """

    def __init__(
        self,
        database: Database,
        commits: GroupCommit,
        bounds: Bounds | None = None,
        *,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self._database, self._commits = database, commits
        self._bounds = bounds or Bounds()
        self._known = Known()
        self._lineage: Lineage | None = None

    def serving(self, lineage: Lineage) -> "LogSaver":
        """The same saver for one version of a graph.

        Every checkpoint that it writes records the versions. The values of older ones are migrated as they are read,
        those of the graph itself: a subgraph's are as they were. It raises VersionUnavailable where there is no way to
        a checkpoint's version; nothing stored changes for that.
        """
        view = copy.copy(self)
        view._lineage = lineage
        return view

    def through(self, commits: GroupCommit) -> "LogSaver":
        """The same saver, writing through another commit. It remembers by itself what it has seen."""
        view = copy.copy(self)
        view._commits, view._known = commits, Known()
        return view

    def artifacts(self, config: RunnableConfig) -> SqlArtifacts:
        """The artifacts of a config's thread, put under its claim."""
        return SqlArtifacts(self._database, self._commits, Place.of(config).thread_id, claim_of(config))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns when it is committed, or left to the trail.

        Raises:
            Fenced: the claim's epoch is over.
            CheckpointConflict: another checkpoint follows the parent, which was read as the newest.
            StateTooLarge: its values are more than a checkpoint may hold.
        """
        place = Place.of(config).at(checkpoint["id"])
        async with self._known.storing(place):
            entry, parent = await self._entry(config, checkpoint, metadata, new_versions)
            await self._store(config, entry)
            self._known.add(place, parent)
        return place.config()

    async def is_stored(self, place: Place, trail: Trail | None = None) -> bool:
        """Whether there is such a checkpoint. What is being stored of its thread is waited for, from the call of `aput`
        on, and so is the trail, which raises what cannot be stored."""
        await self._known.settled(place.thread_id)
        is_known = place in self._known
        if trail:
            await trail.settled()
            await self._known.settled(place.thread_id)
        if not is_known and place in self._known:  # it was left meanwhile: the trail has not settled it yet
            return await self.is_stored(place, trail)
        return is_known or await self._is_there(place)

    @patient
    async def _is_there(self, place: Place) -> bool:
        return bool(await self._database.rows(anywhere(place)))

    async def _store(self, config: RunnableConfig, entry: Entry) -> None:
        if trail := trail_of(config):
            await trail.leave(entry)
        else:
            await self._commits.store(entry)

    async def _entry(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[Entry, Parent]:
        """What is to be stored of a checkpoint, and what writing the next one needs to know of it."""
        origin = Place.of(config)
        place, parent = origin.at(checkpoint["id"]), self._shared(await self._parent(origin))
        homes, values = homes_of(checkpoint, new_versions, parent), checkpoint["channel_values"]
        packed = {
            channel: pack(self.serde, values[channel]) for channel in values if homes[channel] == checkpoint["id"]
        }
        sizes = {name: len(packed[name]) if name in packed else parent.sizes[name] for name in homes}
        self._bounds.check(sizes)
        head = Head.of(checkpoint, self._recorded(config, metadata), homes, sizes)
        stamp = max(time.time_ns(), parent.stamp + 1)
        aside = Aside(place.thread_id, self._bounds.artifact)
        row = {
            **written(place, config, stamp, metadata.get("run_id")),
            "parent_id": origin.checkpoint_id,
            "follows": follows_of(config, origin),
            "head": head.packed(self.serde),
            "data": pack(self.serde, {channel: aside.slot(value) for channel, value in packed.items()}),
            "refers": referred(aside.rows),
        }
        return Entry(claim_of(config), [row], artifacts=list(aside.rows.values())), Parent.of(stamp, head)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes; returns when they are committed, or left to the trail.

        Raises:
            Fenced: the claim's epoch is over.
            StateTooLarge: they are more than a checkpoint may hold.
        """
        place = Place.of(config)
        aside = Aside(place.thread_id, self._bounds.artifact)
        packed = [(number, channel, pack(self.serde, value)) for number, channel, value in numbered(writes)]
        self._bounds.check(sizes_of(packed))
        row = {
            **written(place, config, time.time_ns()),
            "task_id": task_id,
            "task_path": task_path,
            "data": pack(self.serde, [(number, channel, aside.slot(value)) for number, channel, value in packed]),
            "refers": referred(aside.rows),
        }
        await self._store(config, Entry(claim_of(config), writes=[row], artifacts=list(aside.rows.values())))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if reads_blank(config):
            return None
        await _settled(config)
        return await self._newest(config)

    @patient
    async def _newest(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = Place.of(config)
        async with self._database.read() as connection:
            row = (await connection.execute(newest(place))).one_or_none()
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
        if config:
            await _settled(config)
        query = listed(config, before).order_by(checkpoints.c.stamp.desc(), checkpoints.c.checkpoint_id.desc())
        offset: tuple[int, str] | None = None
        while limit is None or limit > 0:
            page = query.where(sa.tuple_(*offset) > ORDER) if offset else query
            async with self._database.read() as connection:
                rows = (await connection.execute(page.limit(PAGE))).all()
                heads = [(row, Head.unpacked(self.serde, row.head)) for row in rows]
                matching = [(row, head) for row, head in heads if matches(head.metadata, filter or {})][:limit]
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
        self._known.forget({thread_id})

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what the runs wrote; the values that later checkpoints share with theirs stay. The runs have ended."""
        async with self._database.transaction() as connection:
            threads = await upkeep.delete_runs(connection, self.serde, run_ids)
        self._known.forget(threads)

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
        self._known.forget(set(thread_ids))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What delta channels are rebuilt from, some tens of ancestors a query."""
        await _settled(config)
        return await self._rebuilding(config, channels)

    @patient
    async def _rebuilding(self, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, DeltaChannelHistory]:
        history = History(channels)
        async with self._database.read() as connection:
            target = (await connection.execute(newest(Place.of(config)))).one_or_none() if channels else None
            await history.walk(connection, self.serde, target)
            seeds = await self._loaded(connection, history.seeding)
            writes = await writes_of(connection, self.serde, [_place(row) for row, _ in history.line])
        return history.told({one.checkpoint["id"]: one.checkpoint["channel_values"] for one in seeds}, writes)

    async def _loaded(self, connection: AsyncConnection, found: Sequence[Found]) -> list[CheckpointTuple]:
        """Heads with their values and their pending writes."""
        values = await values_of(connection, self.serde, found)
        pending = await writes_of(connection, self.serde, [_place(row) for row, _ in found])
        tuples = []
        for row, head in found:
            place = _place(row)
            self._known.add(place, Parent.of(row.stamp, head))
            checkpoint = self._brought_up(place.ns, head, head.filled(values[row.thread_id, row.ns]))
            parent = place.at(row.parent_id).config() if row.parent_id else None
            tuples.append(CheckpointTuple(place.config(), checkpoint, head.metadata, parent, pending[place]))
        return tuples

    def _brought_up(self, ns: str, head: Head, checkpoint: Checkpoint) -> Checkpoint:
        """A checkpoint as the version that is served has it. Raises VersionUnavailable."""
        recorded = recorded_version(head.metadata)
        if self._lineage is None or recorded == self._lineage.versions.graph:
            return checkpoint
        self._lineage.require(recorded)
        return checkpoint if ns else self._lineage.brought_up(checkpoint, recorded)

    def _recorded(self, config: RunnableConfig, metadata: CheckpointMetadata) -> CheckpointMetadata:
        given = get_serializable_checkpoint_metadata(config, metadata)
        return cast(CheckpointMetadata, {**given, **self._lineage.versions.metadata()}) if self._lineage else given

    def _shared(self, parent: Parent) -> Parent:
        """The parent, without the values that are of another version than those that are written now."""
        if self._lineage is None or parent.graph_version == self._lineage.versions.graph:
            return parent
        return replace(parent, homes={}, sizes={})

    @patient
    async def _parent(self, origin: Place) -> Parent:
        """What is known of a checkpoint, or is read of it; of none, and of one that is gone, nothing."""
        if origin.checkpoint_id and origin not in self._known:
            async with self._database.read() as connection:
                row = (await connection.execute(newest(origin))).one_or_none()
            if row is not None:
                self._known.add(origin, Parent.of(row.stamp, Head.unpacked(self.serde, row.head)))
        return self._known.parent(origin)


async def _settled(config: RunnableConfig) -> None:
    """Wait until what the config's trail has left can be read."""
    if trail := trail_of(config):
        await trail.settled()


def _place(row: sa.Row[Any]) -> Place:
    return Place(row.thread_id, row.ns, row.checkpoint_id)
