"""The orchestrator without durability: its checkpoints go nowhere, and its runs and nothing else into memory.

What it costs is the floor under every way to make it durable: the same calls, graphs, streams and events.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import Any
from unittest.mock import patch

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.serve import Servable, run
from graphmesh_nodes.budget import Usage
from graphmesh_orchestrator import __main__ as product
from graphmesh_orchestrator.checkpoints import GroupCommit, Source
from graphmesh_orchestrator.checkpoints.config_keys import Place
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.settings import Settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

KEPT: dict[str, Run] = {}
COLUMNS = {field.name for field in fields(Run)}


class KeptRuns(SqlRuns):
    """Runs in memory; each begins at once."""

    async def add(self, run: Run, worker: str) -> Run:
        KEPT[run.run_id] = replace(run, status=RunStatus.RUNNING, holds_thread=True, epoch=1)
        return KEPT[run.run_id]

    async def get(self, tenant: str, run_id: str) -> Run:
        if run_id not in KEPT:
            raise NotFound(resource="run", id=run_id)
        return KEPT[run_id]


class NoCommit(GroupCommit):
    """Stores where runs stand, and drops the rest."""

    async def store(self, source: Source) -> None:
        entry = source.taken()
        if entry.claim and entry.run:
            run_id = entry.claim.run_id
            changed = {name: value for name, value in entry.run.items() if name in COLUMNS}
            KEPT[run_id] = replace(KEPT[run_id], **{**changed, "usage": Usage(**entry.run["usage"])})


async def _all_held(leases: SqlLeases, held: Mapping[str, int]) -> dict[str, str]:
    return dict.fromkeys(held, "")


class NoCheckpoints(BaseCheckpointSaver[int]):
    """Takes checkpoints and keeps none."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return None

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return Place.of(config).at(checkpoint["id"]).config()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """They are dropped."""


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    parts: dict[str, Any] = {"LogSaver": NoCheckpoints, "GroupCommit": NoCommit, "SqlRuns": KeptRuns}
    with patch.multiple(product, **parts), patch.object(SqlLeases, "renew", _all_held):
        async with product.build(settings) as servable:
            yield servable


if __name__ == "__main__":
    run("orchestrator", build, Settings)
