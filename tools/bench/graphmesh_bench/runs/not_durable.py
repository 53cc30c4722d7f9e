"""The orchestrator without durability: it keeps the status of runs in memory, and drops checkpoints and events.

Its cost is the lower bound for every durable one: the same calls, graphs, streams and events.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.serve import run
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.backend import Backend, open_backend
from graphmesh_orchestrator.checkpoints import CheckpointRef, Entry, Source
from graphmesh_orchestrator.checkpoints.batch_writer import BatchWriter, MemoryBatchWriter
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.leases.leases import Leases
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import MemoryRuns
from graphmesh_orchestrator.settings import Settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)


class StatusCommits:
    """Writes the status of runs at once, without a group commit, and drops the rest."""

    def __init__(self, writer: BatchWriter) -> None:
        self._writer = writer

    async def store(self, source: Source) -> None:
        entry = source.take()
        [refusal] = await self._writer.write([Entry(entry.run_epoch, run=entry.run, artifacts=entry.artifacts)])
        if refusal:
            raise refusal

    def wake(self) -> None:
        """Nothing is deferred."""


class PermanentLeases:
    """A run belongs to the only worker from its creation on: leases are never claimed, and never lost."""

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        return ()

    async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
        return dict.fromkeys(held, "")

    async def release(self, held: Mapping[str, Epoch]) -> None:
        """Keep them."""

    async def survive(self, lost: Mapping[str, Epoch]) -> None:
        """Do nothing: none are lost."""

    async def release_all(self) -> None:
        """Keep them."""


class NoCheckpoints(BaseCheckpointSaver[int]):
    """Accepts checkpoints and drops them."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return None

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return CheckpointRef.of(config).with_id(checkpoint["id"]).config()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Drop them."""


@asynccontextmanager
async def open_leases() -> AsyncIterator[Leases]:
    yield PermanentLeases()


@asynccontextmanager
async def open_without_durability(settings: Settings, worker: str) -> AsyncIterator[Backend]:
    """Open the orchestrator's stores with runs, leases and checkpoints that are not durable."""
    tables = MemoryTables()
    async with open_backend(settings, worker) as backend:
        yield replace(
            backend,
            runs=MemoryRuns(tables),
            leases=PermanentLeases(),
            open_leases=open_leases,
            commits=StatusCommits(MemoryBatchWriter(tables)),
            saver=NoCheckpoints(),
        )


if __name__ == "__main__":
    run("orchestrator", partial(build, open_backend=open_without_durability), Settings)
