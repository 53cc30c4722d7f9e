"""The usual recipe, as a baseline: FastAPI, the official checkpointer, one lock in Redis for each thread.

Served by two uvicorn workers. A run ends with the process or the request that executes it; there are no events, no
leases and no fencing.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing import parent_process
from signal import SIGKILL
from typing import Any

from fastapi import FastAPI, Request
from graphmesh_local.die_with_parent import set_parent_death_signal
from pydantic import BaseModel
from redis.asyncio import Redis

from graphmesh_bench.runs.local_graphs import local_graph
from graphmesh_bench.runs.on_postgres_saver import postgres_saver

DATABASE = "GRAPHMESH_BENCH_DATABASE"
"""The environment variable with the URL of the database, whose tables exist."""
REDIS = "GRAPHMESH_BENCH_REDIS"
"""The environment variable with the URL of Redis."""


@asynccontextmanager
async def _resources(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    if supervisor := parent_process():
        set_parent_death_signal(supervisor.pid or 0, SIGKILL)  # uvicorn's workers do not notice its death
    async with postgres_saver(os.environ[DATABASE]) as saver, Redis.from_url(os.environ[REDIS]) as redis:
        yield {"graph": local_graph.compile(checkpointer=saver), "redis": redis}


app = FastAPI(lifespan=_resources)


class RunInput(BaseModel):
    question: str


@app.get("/")
async def ready() -> dict[str, Any]:
    return {}


@app.post("/threads/{thread_id}/runs")
async def run(thread_id: str, input: RunInput, request: Request) -> dict[str, Any]:
    config: Any = {"configurable": {"thread_id": thread_id}}
    async with request.state.redis.lock(f"thread:{thread_id}", timeout=60):
        output: dict[str, Any] = await request.state.graph.ainvoke(input.model_dump(), config, durability="sync")
    return output
