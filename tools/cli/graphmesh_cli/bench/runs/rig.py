"""Everything that is measured, brought up together: one PostgreSQL, a database and the processes for each kind."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from graphmesh_chassis.database import open_database
from graphmesh_client import Client
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver

from graphmesh_cli import backends
from graphmesh_cli.bench.runs import graph, kinds, nothing, official, recipe
from graphmesh_cli.bench.runs.http import connections
from graphmesh_cli.bench.runs.kinds import Kind, Name, Turn
from graphmesh_cli.bench.runs.meter import Meter, metering, tree
from graphmesh_cli.bench.runs.official import official_saver, set_up
from graphmesh_cli.bench.runs.rounds import Plan
from graphmesh_cli.bench.runs.stored import store_runs
from graphmesh_cli.probes import Probe, grpc_health, http
from graphmesh_cli.processes import Program, reserve_port
from graphmesh_cli.supervisor import OnDeath, Supervisor

OURS, OFFICIAL, NOTHING = "graphmesh_orchestrator", official.__name__, nothing.__name__
"""The modules of the orchestrators: the product, and those of the benchmark."""
WORKERS = 2
"""Of uvicorn."""


@dataclass(frozen=True)
class Served:
    """An orchestrator."""

    client: Client
    process: psutil.Process


@dataclass
class Rig:
    """The processes, for as long as the stack is open."""

    stack: AsyncExitStack
    folder: Path
    server: backends.Postgres
    supervisor: Supervisor
    environment: dict[str, str]
    kinds: list[Kind] = field(default_factory=list)

    async def database(self) -> str:
        """The URL of a new one."""
        return await self.stack.enter_async_context(self.server.database())

    async def orchestrator(self, module: str) -> Served:
        """An orchestrator, on a database of its own."""
        address = f"127.0.0.1:{reserve_port()}"
        settings = {
            "DATABASE_URL": await self.database(),
            "LISTEN": address,
            "GRAPHS": str(self.folder / "langgraph.json"),
            "LOG_LEVEL": "warning",
        }
        env = {f"GRAPHMESH_ORCHESTRATOR_{name}": value for name, value in settings.items()}
        process = await self.program(["-m", module], env, grpc_health(address))
        return Served(await self.stack.enter_async_context(Client(address)), process)

    async def program(self, arguments: list[str], env: dict[str, str], probe: Probe) -> psutil.Process:
        name = f"process-{len(self.supervisor.children)}"
        program = Program(
            name=name,
            argv=[sys.executable, *arguments],
            log=self.folder / f"{name}.log",
            probe=probe,
            env={**self.environment, **env},
        )
        [child] = await self.supervisor.start([program])
        return psutil.Process(child.pid)

    def add(self, name: Name, turn: Turn, process: psutil.Process | None = None) -> None:
        """Without a process it is this one."""
        self.kinds.append(Kind(name, turn, tree(process) if process else [psutil.Process()]))


@asynccontextmanager
async def rig(plan: Plan) -> AsyncIterator[tuple[Rig, Meter]]:
    """All kinds of `plan`, and the meter of their PostgreSQL."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphmesh-bench-")))
        server = await stack.enter_async_context(backends.postgres())
        meter = await stack.enter_async_context(metering(server))
        supervisor = await stack.enter_async_context(Supervisor(OnDeath.STOP))
        made = Rig(stack, folder, server, supervisor, {graph.STATE_KB: str(plan.state_kb)})
        _register(folder)
        await _in_process(made)
        await _orchestrators(made, plan)
        await _recipe(made)
        await meter.imitate_disk(plan.flush_ms)
        yield made, meter


def _register(folder: Path) -> None:
    """The registry of the graphs; its entries are relative to its folder."""
    file = os.path.relpath(graph.__file__, folder)
    graphs = {name: f"{file}:{name}" for name in ("working", "staying", "asking")}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))


async def _in_process(rig: Rig) -> None:
    rig.stack.enter_context(patch.dict(os.environ, rig.environment))
    url = await rig.database()
    await set_up(url)
    theirs = await rig.stack.enter_async_context(official_saver(url))
    database = await rig.stack.enter_async_context(open_database(await rig.database(), MIGRATIONS))
    commits = await rig.stack.enter_async_context(GroupCommit(database).running())
    savers: dict[Name, Any] = {Name.PLAIN: None, Name.OFFICIAL: theirs, Name.LOG: LogSaver(database, commits)}
    for name, saver in savers.items():
        rig.add(name, kinds.in_process(graph.working.compile(checkpointer=saver)))


async def _orchestrators(rig: Rig, plan: Plan) -> None:
    ours, theirs, none = await asyncio.gather(*map(rig.orchestrator, (OURS, OFFICIAL, NOTHING)))
    rig.add(Name.SYNC, kinds.synchronous(ours.client), ours.process)
    rig.add(Name.BACKGROUND, kinds.background(ours.client), ours.process)
    rig.add(Name.ON_OFFICIAL, kinds.synchronous(theirs.client), theirs.process)
    rig.add(Name.NOTHING, kinds.synchronous(none.client), none.process)
    if plan.rows:
        full = await rig.orchestrator(OURS)
        await kinds.synchronous(full.client)()
        await store_runs(full.process.environ()["GRAPHMESH_ORCHESTRATOR_DATABASE_URL"], plan.rows)
        rig.add(Name.FULL, kinds.synchronous(full.client), full.process)


async def _recipe(rig: Rig) -> None:
    redis, url, port = await rig.stack.enter_async_context(backends.redis()), await rig.database(), reserve_port()
    await set_up(url)
    arguments = ["-m", "uvicorn", f"{recipe.__name__}:app", "--port", str(port), "--workers", str(WORKERS)]
    env = {recipe.DATABASE: url, recipe.REDIS: redis.url}
    options = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"]
    process = await rig.program([*arguments, *options], env, http(f"http://127.0.0.1:{port}/"))
    rig.add(Name.RECIPE, kinds.over_http(await rig.stack.enter_async_context(connections(port))), process)
