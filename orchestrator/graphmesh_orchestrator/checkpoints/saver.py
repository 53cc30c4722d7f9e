"""LangGraph's checkpointer over the log."""

import copy
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.large_values import read_places
from graphmesh_chassis.own_loop import on_own_loop
from graphmesh_nodes.errors import ValueNotStorable
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import pruning
from graphmesh_orchestrator.checkpoints.artifacts_sql import SqlArtifacts
from graphmesh_orchestrator.checkpoints.config_keys import (
    NEWEST,
    CheckpointRef,
    is_first_read_of_new_thread,
    run_epoch_of,
    tenant_of,
)
from graphmesh_orchestrator.checkpoints.delta_channels import DeltaHistory
from graphmesh_orchestrator.checkpoints.encoding import Head, number_writes, pack
from graphmesh_orchestrator.checkpoints.entries import Commits, Entry
from graphmesh_orchestrator.checkpoints.large_values import LargeValues, StateLimits, artifact_names
from graphmesh_orchestrator.checkpoints.packing import pack_bounded
from graphmesh_orchestrator.checkpoints.parent_cache import MAX_PARENTS, ParentCache
from graphmesh_orchestrator.checkpoints.queries import (
    NEWEST_FIRST,
    ORDER,
    PAGE,
    has_metadata,
    select_checkpoint,
    select_in_any_namespace,
    select_matching,
    select_newest_stamp,
)
from graphmesh_orchestrator.checkpoints.reading import HeadRow, read_values, read_writes, ref_of, tuple_of
from graphmesh_orchestrator.checkpoints.retry_reads import RETRY_SECONDS, retry_while_unavailable
from graphmesh_orchestrator.checkpoints.rows import CheckpointRow, TaskWriteRow
from graphmesh_orchestrator.checkpoints.stamps import STAMPS
from graphmesh_orchestrator.checkpoints.state_serializer import StateSerializer
from graphmesh_orchestrator.checkpoints.state_versions import Lineage
from graphmesh_orchestrator.checkpoints.sync_saver import SyncSaver
from graphmesh_orchestrator.checkpoints.write_behind import WriteBehind, write_behind_of
from graphmesh_orchestrator.checkpoints.writing import Parent, channel_sizes, follows_of, identity_of, value_rows_of


class LogSaver(SyncSaver):
    """Checkpoints in SQL, written through a group commit. Reads wait while the database is unavailable.

    A config with a `RUN_EPOCH` writes only while that is the run's epoch. With a write-behind buffer, writes are
    buffered, and flushed before a read.
    """

    def __init__(
        self,
        database: Database,
        commits: Commits,
        limits: StateLimits | None = None,
        *,
        serde: SerializerProtocol | None = None,
        cached_parents: int = MAX_PARENTS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__(serde=serde or StateSerializer())
        self._database, self._commits = database, commits
        self._limits = limits or StateLimits()
        self._parents = ParentCache(cached_parents)
        self.retry_seconds = retry_seconds
        self._lineage: Lineage | None = None

    def with_lineage(self, lineage: Lineage) -> "LogSaver":
        """Return a saver for one version of a graph, with the same cache.

        Every checkpoint that it writes records the versions. The values of older checkpoints are migrated when they
        are read, except those of subgraphs; the stored ones do not change. It raises VersionUnavailable for a
        checkpoint of a version that the lineage does not accept.
        """
        saver = copy.copy(self)
        saver._lineage = lineage
        return saver

    def with_commits(self, commits: Commits) -> "LogSaver":
        """Return a saver that writes through another commit, with a cache of its own."""
        saver = copy.copy(self)
        saver._commits, saver._parents = commits, ParentCache(self._parents.size)
        return saver

    def artifacts(self, config: RunnableConfig) -> SqlArtifacts:
        """Return the artifacts of a config's thread, stored under its epoch."""
        return SqlArtifacts(self._database, self._commits, CheckpointRef.of(config).thread_id, run_epoch_of(config))

    @on_own_loop
    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns when it is committed, or buffered.

        Raises:
            Fenced: the epoch is no longer the run's.
            CheckpointConflict: another checkpoint follows the parent, which was read as the newest.
            StateTooLarge: its values are larger than a checkpoint may be.
            ValueNotStorable: a value cannot be serialized; the error has the channel.
        """
        ref = CheckpointRef.of(config).with_id(checkpoint["id"])
        async with self._parents.storing(ref):
            entry, parent = await self._checkpoint_entry(config, checkpoint, metadata, new_versions)
            await self._store(config, entry)
            self._parents.add(ref, parent)
        return ref.config(tenant_of(config))

    async def is_stored(self, ref: CheckpointRef, buffer: WriteBehind | None = None) -> bool:
        """Return whether a checkpoint is durable.

        Waits for the checkpoints of its thread that are being stored, from the call of `aput` on, and for the buffer.

        Raises:
            As `WriteBehind.flush`.
        """
        await self._parents.wait_until_stored(ref.thread_id)
        is_cached = ref in self._parents
        if buffer:
            await buffer.flush()
            await self._parents.wait_until_stored(ref.thread_id)
        if not is_cached and ref in self._parents:  # it was buffered meanwhile, perhaps after the flush began
            return await self.is_stored(ref, buffer)
        return is_cached or await self._exists(ref)

    @retry_while_unavailable
    async def _exists(self, ref: CheckpointRef) -> bool:
        return bool(await self._database.rows(select_in_any_namespace(ref)))

    async def _store(self, config: RunnableConfig, entry: Entry) -> None:
        if buffer := write_behind_of(config):
            await buffer.add(entry)
        else:
            await self._commits.store(entry)

    async def _checkpoint_entry(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[Entry, Parent]:
        """Return the entry of a checkpoint, and the facts that writing the next one needs."""
        origin, values = CheckpointRef.of(config), checkpoint["channel_values"]
        ref, parent = origin.with_id(checkpoint["id"]), self._same_version(await self._parent(origin))
        value_rows = value_rows_of(checkpoint, new_versions, parent)
        changed = [(channel, value) for channel, value in values.items() if value_rows[channel] == checkpoint["id"]]
        data = await pack_bounded(self.serde, changed, self._limits)
        packed = {channel: body for (channel, _), body in zip(changed, data, strict=True)}
        sizes = {name: len(packed[name]) if name in packed else parent.sizes[name] for name in value_rows}
        self._limits.check(sizes)
        large = LargeValues(ref.thread_id, self._limits.artifact, parent.bodies)
        stored = {channel: large.store(channel, value) for channel, value in packed.items()}
        bodies = {name: body for name, body in parent.bodies.items() if name in value_rows and name not in packed}
        recorded = self._recorded_metadata(config, metadata)
        head = Head.of(checkpoint, recorded, value_rows, sizes, {**bodies, **large.bodies})
        stamp = max(STAMPS.next(), parent.stamp + 1)
        row: CheckpointRow = {
            **identity_of(ref, config, stamp, metadata.get("run_id")),
            "parent_id": origin.checkpoint_id,
            "follows": follows_of(config, origin),
            "head": head.packed(self.serde),
            "data": pack(self.serde, stored),
            "refers": artifact_names(stored.values()),
        }
        return Entry(run_epoch_of(config), [row], artifacts=list(large.rows.values())), Parent.of(stamp, head)

    @on_own_loop
    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes; returns when they are committed, or buffered.

        Raises:
            Fenced: the epoch is no longer the run's.
            StateTooLarge: they are larger than a checkpoint may be.
            ValueNotStorable: one cannot be serialized; the error has the channel and the task.
        """
        ref = CheckpointRef.of(config)
        numbered = number_writes(writes)
        try:
            values = await pack_bounded(self.serde, [(channel, value) for _, channel, value in numbered], self._limits)
        except ValueNotStorable as error:
            error.locate(task_id=task_id)
            raise
        packed = [(number, channel, data) for (number, channel, _), data in zip(numbered, values, strict=True)]
        self._limits.check(channel_sizes(packed))
        before = self._parents.get(ref)
        large = LargeValues(ref.thread_id, self._limits.artifact, before.bodies if before else {})
        stored = [(number, channel, large.store(channel, value)) for number, channel, value in packed]
        row: TaskWriteRow = {
            **identity_of(ref, config, STAMPS.next()),
            "task_id": task_id,
            "task_path": task_path,
            "data": pack(self.serde, stored),
            "refers": artifact_names([value for _, _, value in stored]),
        }
        await self._store(config, Entry(run_epoch_of(config), writes=[row], artifacts=list(large.rows.values())))

    @on_own_loop
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if is_first_read_of_new_thread(config):
            return None
        await _flush(config)
        return await self._read_tuple(config)

    @retry_while_unavailable
    async def _read_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        ref = CheckpointRef.of(config)
        async with read_places("checkpoints"), self._database.read() as connection:
            row = (await connection.execute(select_checkpoint(ref))).one_or_none()
            if row is None:
                return None
            if ref.checkpoint_id is not None:  # what follows it becomes the newest of its thread
                STAMPS.observe((await connection.execute(select_newest_stamp(ref))).scalar_one())
            [found] = await self.load(connection, [(row, Head.unpacked(self.serde, row.head))], tenant_of(config))
        newest = row.checkpoint_id if ref.checkpoint_id is None else None
        if newest or NEWEST in config["configurable"]:
            found.config["configurable"][NEWEST] = newest
        return found

    def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """Yield the checkpoints that match, the newest first, read a page at a time."""
        return self._loop.iterate(self._list(config, **options))

    async def _list(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[CheckpointTuple, None]:
        if config:
            await _flush(config)
        query = select_matching(config, before).order_by(*NEWEST_FIRST).limit(PAGE)
        last: tuple[int, str] | None = None
        while limit is None or limit > 0:
            page = query.where(sa.tuple_(*last) > ORDER) if last else query
            async with read_places("checkpoints"), self._database.read() as connection:
                rows = (await connection.execute(page)).all()
                heads = [(row, Head.unpacked(self.serde, row.head)) for row in rows]
                matching = [(row, head) for row, head in heads if has_metadata(head.metadata, filter or {})][:limit]
                tuples = await self.load(connection, matching, tenant_of(config))
            for found in tuples:
                yield found
            if len(rows) < PAGE:
                return
            limit = limit - len(tuples) if limit is not None else None
            last = (rows[-1].stamp, rows[-1].checkpoint_id)

    @on_own_loop
    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread. No run is active on it."""
        async with self._database.transaction() as connection:
            await pruning.delete_threads(connection, [thread_id])
        self._parents.evict({thread_id})

    @on_own_loop
    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the writes of runs that have ended. Values that later checkpoints refer to are kept."""
        async with self._database.transaction() as connection:
            threads = await pruning.delete_runs(connection, self.serde, run_ids)
        self._parents.evict(threads)

    @on_own_loop
    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        async with self._database.transaction() as connection:
            await pruning.copy_thread(connection, source_thread_id, target_thread_id)

    @on_own_loop
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete threads, or all but the newest checkpoint of each namespace and the rows that it is rebuilt from.

        Raises:
            ValueError: the strategy is neither `delete` nor `keep_latest`.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"no such strategy: {strategy}")
        async with self._database.transaction() as connection:
            if strategy == "delete":
                await pruning.delete_threads(connection, thread_ids)
            else:
                await pruning.keep_latest(connection, self.serde, thread_ids)
        self._parents.evict(set(thread_ids))

    @on_own_loop
    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the histories that delta channels are rebuilt from, with some tens of ancestors a query."""
        await _flush(config)
        return await self._read_delta_history(config, channels)

    @retry_while_unavailable
    async def _read_delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        history = DeltaHistory(channels)
        query = select_checkpoint(CheckpointRef.of(config))
        async with self._database.read() as connection:
            target = (await connection.execute(query)).one_or_none() if channels else None
            await history.read_ancestors(connection, self.serde, target)
            seeds = await self.load(connection, history.seeds)
            writes = await read_writes(connection, self.serde, [ref_of(row) for row, _ in history.ancestors])
        values = {seed.checkpoint["id"]: seed.checkpoint["channel_values"] for seed in seeds}
        return history.by_channel(values, writes)

    async def load(
        self, connection: AsyncConnection, head_rows: Sequence[HeadRow], tenant: str | None = None
    ) -> list[CheckpointTuple]:
        """Return the checkpoints of heads, with their values and their pending writes. See `tuple_of`."""
        values = await read_values(connection, self.serde, head_rows)
        pending = await read_writes(connection, self.serde, [ref_of(row) for row, _ in head_rows])
        tuples = []
        for row, head in head_rows:
            ref = ref_of(row)
            self._parents.add(ref, Parent.of(row.stamp, head))
            checkpoint = head.with_values(values[row.thread_id, row.ns])
            if self._lineage:
                checkpoint = self._lineage.current(checkpoint, head.metadata, ref.ns)
            tuples.append(tuple_of(row, head, checkpoint, pending[ref], tenant))
        return tuples

    def _recorded_metadata(self, config: RunnableConfig, metadata: CheckpointMetadata) -> CheckpointMetadata:
        """Return the metadata to store, with the versions of the lineage."""
        given = get_serializable_checkpoint_metadata(config, metadata)
        return cast(CheckpointMetadata, {**given, **self._lineage.versions.metadata()}) if self._lineage else given

    def _same_version(self, parent: Parent) -> Parent:
        """Return a parent without its values where another version wrote them, so that a child does not share them."""
        if self._lineage is None or parent.graph_version == self._lineage.versions.graph:
            return parent
        return replace(parent, value_rows={}, sizes={}, bodies={})

    async def _parent(self, origin: CheckpointRef) -> Parent:
        """Return the facts about a checkpoint; those of no parent where there is none, or it has been deleted."""
        if not origin.checkpoint_id:
            return Parent()
        return self._parents.get(origin) or await self._read_parent(origin)

    @retry_while_unavailable
    async def _read_parent(self, origin: CheckpointRef) -> Parent:
        async with self._database.read() as connection:
            row = (await connection.execute(select_checkpoint(origin))).one_or_none()
        if row is None:
            return Parent()
        parent = Parent.of(row.stamp, Head.unpacked(self.serde, row.head))
        self._parents.add(origin, parent)
        return parent


async def _flush(config: RunnableConfig) -> None:
    """Make the writes of the config's buffer readable."""
    if buffer := write_behind_of(config):
        await buffer.flush()
