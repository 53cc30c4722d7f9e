"""The variants: ways to run the graph that are measured beside each other."""

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
from langchain_core.runnables import RunnableConfig

from graphmesh_bench.runs.http_client import ConnectionPool
from graphmesh_bench.runs.local_graphs import INPUT, LOCAL

BURST = 4
"""Runs that one caller begins before it waits for the first."""
MESH = "mesh: "
"""Prefix of the names of variants with remote nodes."""

Iteration = Callable[[], Awaitable[list[float]]]
"""One iteration of a caller: it executes some runs to their ends, and returns its wait for each in seconds."""


class VariantName(StrEnum):
    """The names in the report. On the mesh nodes are remote nodes, elsewhere they are in process."""

    PLAIN = "LangGraph alone"
    POSTGRES_SAVER = "LangGraph, AsyncPostgresSaver"
    LOG_SAVER = "LangGraph, LogSaver"
    ORCHESTRATOR = "orchestrator"
    TWO_PROCESSES = "orchestrator, two processes"
    FULL_TABLE = "orchestrator, full table"
    BACKGROUND = "orchestrator, background"
    ON_POSTGRES_SAVER = "… on AsyncPostgresSaver"
    NOT_DURABLE = "… without durability"
    RECIPE = "FastAPI recipe"
    MESH_LOG_SAVER = f"{MESH}LangGraph, LogSaver"
    MESH_ORCHESTRATOR = f"{MESH}orchestrator"
    MESH_ON_POSTGRES_SAVER = f"{MESH}… on AsyncPostgresSaver"
    MESH_NOT_DURABLE = f"{MESH}… without durability"

    @property
    def is_on_mesh(self) -> bool:
        return self.startswith(MESH)

    @property
    def baseline(self) -> "VariantName":
        """The orchestrator with the same nodes."""
        return VariantName.MESH_ORCHESTRATOR if self.is_on_mesh else VariantName.ORCHESTRATOR


@dataclass(frozen=True)
class Variant:
    """One way to run the graph."""

    name: VariantName
    iterate: Iteration
    processes: Sequence[psutil.Process]
    """The processes that execute it, besides PostgreSQL."""
    callers: Sequence[int] = ()
    """The numbers of callers that a goal needs it at; empty: all."""


class RunFailed(Exception):
    """A run did not succeed, so its time is no sample."""


def in_process(compiled: Any, in_run: Callable[[RunnableConfig], RunnableConfig] = lambda config: config) -> Iteration:
    """`ainvoke` in this process, each on a new thread and with what `in_run` adds to its config."""

    async def iterate() -> list[float]:
        began, config = time.perf_counter(), RunnableConfig(configurable={"thread_id": uuid4().hex})
        durability = "sync" if compiled.checkpointer else None
        await compiled.ainvoke(INPUT, in_run(config), durability=durability)
        return [time.perf_counter() - began]

    return iterate


def execute(client: Client, graph: str = LOCAL) -> Iteration:
    """ExecuteRun, which creates a run and waits for its end."""

    async def iterate() -> list[float]:
        began = time.perf_counter()
        _require_success(await client.execute_run(graph, INPUT))
        return [time.perf_counter() - began]

    return iterate


def create_and_wait(client: Client, graph: str = LOCAL) -> Iteration:
    """CreateRun, then WaitRun."""

    async def iterate() -> list[float]:
        began = time.perf_counter()
        run = await client.create_run(graph, INPUT)
        _require_success(await client.wait_run(run.run_id))
        return [time.perf_counter() - began]

    return iterate


def round_robin(iterations: Sequence[Iteration]) -> Iteration:
    """Each iteration by the next of several equal ones."""
    cycle = itertools.cycle(iterations)

    async def iterate() -> list[float]:
        return await next(cycle)()

    return iterate


def background(client: Client) -> Iteration:
    """A burst of CreateRun, then WaitRun for each run; the caller waits for CreateRun only."""

    async def iterate() -> list[float]:
        waits, runs = [], []
        for _ in range(BURST):
            began = time.perf_counter()
            runs.append(await client.create_run(LOCAL, INPUT))
            waits.append(time.perf_counter() - began)
        for run in runs:
            _require_success(await client.wait_run(run.run_id))
        return waits

    return iterate


def over_http(pool: ConnectionPool) -> Iteration:
    """A POST to the recipe."""

    async def iterate() -> list[float]:
        began = time.perf_counter()
        status, body = await pool.post(f"/threads/{uuid4().hex}/runs", json.dumps(INPUT))
        if status != 200:
            raise RunFailed(f"the recipe responded with {status}: {body!r}")
        return [time.perf_counter() - began]

    return iterate


def _require_success(run: Run) -> None:
    if run.status != RunStatus.RUN_STATUS_SUCCESS:
        raise RunFailed(f"{run.run_id} ended as {RunStatus.Name(run.status)}: {run.error.message}")
