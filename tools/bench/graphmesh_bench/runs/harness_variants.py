"""Brings up every variant in a harness."""

import asyncio
import os
from functools import partial
from unittest.mock import patch

import psutil
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import open_database
from graphmesh_local import backends
from graphmesh_local.child_process import reserve_port
from graphmesh_local.probes import http_probe
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter

from graphmesh_bench.mesh import in_run
from graphmesh_bench.runs import fastapi_recipe, not_durable, on_postgres_saver
from graphmesh_bench.runs.harness import PRODUCT, Harness, Orchestrator
from graphmesh_bench.runs.http_client import connection_pool
from graphmesh_bench.runs.local_graphs import REMOTE, local_graph
from graphmesh_bench.runs.on_postgres_saver import create_tables, postgres_saver
from graphmesh_bench.runs.remote_graph import remote_graph
from graphmesh_bench.runs.rounds import Plan
from graphmesh_bench.runs.stored_runs import store_runs
from graphmesh_bench.runs.variants import (
    Iteration,
    VariantName,
    background,
    execute,
    in_process,
    over_http,
    round_robin,
)

WORKERS = 2
"""Processes of uvicorn, and of the orchestrators that are compared with them."""


async def add_variants(harness: Harness, plan: Plan) -> None:
    """Start the processes of all variants; they are measured in the order in which they are added."""
    modules = (PRODUCT, on_postgres_saver.__name__, not_durable.__name__)
    ours, official, none = await asyncio.gather(*map(harness.start_orchestrator, modules))
    full_table, recipe, _ = await asyncio.gather(
        _start_full_table(harness, plan.rows), _start_recipe(harness), harness.start_mesh()
    )
    harness.add(VariantName.ORCHESTRATOR, execute(ours.client), ours.process)
    harness.add(VariantName.BACKGROUND, background(ours.client), ours.process)
    harness.add(VariantName.ON_POSTGRES_SAVER, execute(official.client), official.process)
    harness.add(VariantName.NOT_DURABLE, execute(none.client), none.process)
    if full_table:
        harness.add(VariantName.FULL_TABLE, execute(full_table.client), full_table.process)
    harness.add(VariantName.RECIPE, *recipe)
    await _add_two_processes(harness)
    harness.add(VariantName.MESH_ORCHESTRATOR, execute(ours.client, REMOTE), ours.process)
    on_mesh = execute(official.client, REMOTE)
    harness.add(VariantName.MESH_ON_POSTGRES_SAVER, on_mesh, official.process, callers=[16])
    harness.add(VariantName.MESH_NOT_DURABLE, execute(none.client, REMOTE), none.process)
    await _add_in_process(harness)


async def _start_full_table(harness: Harness, rows: int) -> Orchestrator | None:
    """An orchestrator whose database has that many stored runs, if any."""
    if not rows:
        return None
    orchestrator = await harness.start_orchestrator(PRODUCT)
    await execute(orchestrator.client)()
    await store_runs(orchestrator.database_url, rows)
    return orchestrator


async def _start_recipe(harness: Harness) -> tuple[Iteration, psutil.Process]:
    redis = await harness.stack.enter_async_context(backends.redis())
    url, port = await harness.create_database(), reserve_port()
    await create_tables(url)
    arguments = ["-m", "uvicorn", f"{fastapi_recipe.__name__}:app", "--port", str(port), "--workers", str(WORKERS)]
    arguments += ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"]
    arguments += ["--timeout-worker-healthcheck", "60"]  # uvicorn would take a busy worker for a dead one
    env = {fastapi_recipe.DATABASE: url, fastapi_recipe.REDIS: redis.url}
    process = await harness.start_python(arguments, env, http_probe(f"http://127.0.0.1:{port}/"))
    return over_http(await harness.stack.enter_async_context(connection_pool(port))), process


async def _add_two_processes(harness: Harness) -> None:
    """As many orchestrators on one database as the recipe has workers."""
    database = await harness.create_database()
    first = await harness.start_orchestrator(PRODUCT, database)  # alone at first: it creates the tables
    others = await asyncio.gather(*(harness.start_orchestrator(PRODUCT, database) for _ in range(WORKERS - 1)))
    orchestrators = [first, *others]
    iterate = round_robin([execute(one.client) for one in orchestrators])
    harness.add(VariantName.TWO_PROCESSES, iterate, *(one.process for one in orchestrators), callers=[16])


async def _add_in_process(harness: Harness) -> None:
    """The graph in this process, without an orchestrator."""
    harness.stack.enter_context(patch.dict(os.environ, harness.environment))
    url = await harness.create_database()
    await create_tables(url)
    official = await harness.stack.enter_async_context(postgres_saver(url))
    database = await harness.stack.enter_async_context(open_database(await harness.create_database(), MIGRATIONS))
    commits = await harness.stack.enter_async_context(GroupCommit(SqlBatchWriter(database)).running())
    ours = LogSaver(database, commits)
    harness.add(VariantName.PLAIN, in_process(local_graph.compile()))
    harness.add(VariantName.POSTGRES_SAVER, in_process(local_graph.compile(checkpointer=official)))
    harness.add(VariantName.LOG_SAVER, in_process(local_graph.compile(checkpointer=ours)))
    channel = await harness.stack.enter_async_context(Channel(harness.mesh.mesh.target))
    on_mesh = in_process(remote_graph.compile(checkpointer=ours), partial(in_run, channel))
    harness.add(VariantName.MESH_LOG_SAVER, on_mesh, callers=[1])
