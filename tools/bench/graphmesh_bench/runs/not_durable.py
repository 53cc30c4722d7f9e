"""The orchestrator without durability: it drops checkpoints and events, and keeps runs in memory.

Its cost is the lower bound for every durable one: the same calls, graphs, streams and events.
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
from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef
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

RUNS: dict[str, Run] = {}
COLUMNS = {field.name for field in fields(Run)}


class MemoryRuns(SqlRuns):
    """Keeps runs in memory; each begins at once."""

    async def add(self, run: Run, worker: str) -> Run:
        RUNS[run.run_id] = replace(run, status=RunStatus.RUNNING, holds_thread=True, epoch=1)
        return RUNS[run.run_id]

    async def get(self, tenant: str, run_id: str) -> Run:
        if run_id not in RUNS:
            raise NotFound(resource="run", id=run_id)
        return RUNS[run_id]


class NoCommit(GroupCommit):
    """Keeps the status of runs, and drops the rest."""

    async def store(self, source: Source) -> None:
        entry = source.take()
        if entry.claim and entry.run:
            run_id = entry.claim.run_id
            changed = {name: value for name, value in entry.run.items() if name in COLUMNS}
            RUNS[run_id] = replace(RUNS[run_id], **{**changed, "usage": Usage(**entry.run["usage"])})


async def _renew_all(leases: SqlLeases, held: Mapping[str, int]) -> dict[str, str]:
    return dict.fromkeys(held, "")


class NoCheckpoints(BaseCheckpointSaver[int]):
    """Accepts checkpoints and drops them."""

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
        return CheckpointRef.of(config).at(checkpoint["id"]).config()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Drop them."""


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    replacements: dict[str, Any] = {"LogSaver": NoCheckpoints, "GroupCommit": NoCommit, "SqlRuns": MemoryRuns}
    with patch.multiple(product, **replacements), patch.object(SqlLeases, "renew", _renew_all):
        async with product.build(settings) as servable:
            yield servable


if __name__ == "__main__":
    run("orchestrator", build, Settings)
