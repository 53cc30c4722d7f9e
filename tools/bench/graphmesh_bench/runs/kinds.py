"""The kinds of runs that are measured beside each other."""

import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

import psutil
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_client import Client
from graphmesh_nodes import RunContext

from graphmesh_bench.runs.graph import INPUT
from graphmesh_bench.runs.http import Connections

BURST = 4
"""Runs that one caller begins before it waits for the first."""

Turn = Callable[[], Awaitable[list[float]]]
"""Some runs to their end; the seconds that the caller waited for each."""


MESH = "mesh: "
"""What the names of kinds with remote nodes begin with."""


class Name(StrEnum):
    """What is measured, as the report says it. On the mesh nodes are remote nodes, elsewhere they are in process."""

    PLAIN = "LangGraph alone"
    OFFICIAL = "LangGraph, AsyncPostgresSaver"
    LOG = "LangGraph, LogSaver"
    SYNC = "orchestrator"
    PAIR = "orchestrator, two processes"
    FULL = "orchestrator, full table"
    BACKGROUND = "orchestrator, background"
    ON_OFFICIAL = "… on AsyncPostgresSaver"
    NOTHING = "… with nothing durable"
    RECIPE = "FastAPI recipe"
    MESH_LOG = f"{MESH}LangGraph, LogSaver"
    MESH_SYNC = f"{MESH}orchestrator"
    MESH_ON_OFFICIAL = f"{MESH}… on AsyncPostgresSaver"
    MESH_NOTHING = f"{MESH}… with nothing durable"

    @property
    def orchestrator(self) -> "Name":
        """The product, with the same nodes."""
        return Name.MESH_SYNC if self.startswith(MESH) else Name.SYNC


@dataclass(frozen=True)
class Kind:
    """One way to run the graph."""

    name: Name
    turn: Turn
    processes: Sequence[psutil.Process]
    """What executes it, besides PostgreSQL."""
    only: Sequence[int] = ()
    """The numbers of callers that a goal needs it at; empty: all."""


class RunFailed(Exception):
    """A run did not succeed, so there is nothing to measure."""


def in_process(compiled: Any, context: Callable[[], RunContext | None] = lambda: None) -> Turn:
    """`ainvoke` in this process. `context` is made for each run."""

    async def turn() -> list[float]:
        began, config = time.perf_counter(), {"configurable": {"thread_id": uuid4().hex}}
        durability = "sync" if compiled.checkpointer else None
        await compiled.ainvoke(INPUT, config, context=context(), durability=durability)
        return [time.perf_counter() - began]

    return turn


def synchronous(client: Client, graph: str = "working") -> Turn:
    """CreateRun and WaitRun; the caller waits for both."""

    async def turn() -> list[float]:
        began = time.perf_counter()
        run = await client.create_run(graph, INPUT)
        _require_success(await client.wait_run(run.run_id))
        return [time.perf_counter() - began]

    return turn


def in_turns(turns: Sequence[Turn]) -> Turn:
    """Each run by the next of several that are the same."""
    following = itertools.cycle(turns)

    async def turn() -> list[float]:
        return await next(following)()

    return turn


def background(client: Client) -> Turn:
    """A burst of CreateRun, then WaitRun for each; the caller waits for CreateRun."""

    async def turn() -> list[float]:
        waited, begun = [], []
        for _ in range(BURST):
            began = time.perf_counter()
            begun.append(await client.create_run("working", INPUT))
            waited.append(time.perf_counter() - began)
        for run in begun:
            _require_success(await client.wait_run(run.run_id))
        return waited

    return turn


def over_http(connections: Connections) -> Turn:
    """A POST to the recipe."""

    async def turn() -> list[float]:
        began = time.perf_counter()
        status, body = await connections.post(f"/threads/{uuid4().hex}/runs", json.dumps(INPUT))
        if status != 200:
            raise RunFailed(f"the recipe answered {status}: {body!r}")
        return [time.perf_counter() - began]

    return turn


def _require_success(run: Run) -> None:
    if run.status != RunStatus.RUN_STATUS_SUCCESS:
        raise RunFailed(f"{run.run_id} ended as {RunStatus.Name(run.status)}: {run.error.message}")
