"""Everything that is measured, brought up together: one PostgreSQL, a database and the processes for each kind."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import open_database
from graphmesh_client import Client
from graphmesh_local import backends
from graphmesh_local.child_process import Program, reserve_port
from graphmesh_local.probes import Probe, grpc_health, http
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_mesh.topology import Mesh
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver

from graphmesh_bench import meshed
from graphmesh_bench.runs import calling, graph, kinds, nothing, official, recipe
from graphmesh_bench.runs.http import connections
from graphmesh_bench.runs.kinds import Kind, Name, Turn
from graphmesh_bench.runs.meter import Meter, metering, tree
from graphmesh_bench.runs.official import official_saver, set_up
from graphmesh_bench.runs.rounds import Plan
from graphmesh_bench.runs.stored import store_runs
from graphmesh_bench.server import CHASSIS

OURS, OFFICIAL, NOTHING = "graphmesh_orchestrator", official.__name__, nothing.__name__
"""The modules of the orchestrators: the product, and those of the benchmark."""
WORKERS = 2
"""Of uvicorn."""
LOG_LEVEL = "warning"
"""Of orchestrators and the service."""


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
    mesh: Mesh
    environment: dict[str, str]
    behind: list[psutil.Process] = field(default_factory=list)
    """Envoy and the service: what remote nodes call."""
    kinds: list[Kind] = field(default_factory=list)

    async def database(self) -> str:
        """The URL of a new one."""
        return await self.stack.enter_async_context(self.server.database())

    async def orchestrator(self, module: str, database: str = "") -> Served:
        """An orchestrator, on a database of its own where none is given."""
        address = f"127.0.0.1:{reserve_port()}"
        settings = {
            "DATABASE_URL": database or await self.database(),
            "LISTEN": address,
            "MESH": self.mesh.mesh.target,
            "GRAPHS": str(self.folder / "langgraph.json"),
            "LOG_LEVEL": LOG_LEVEL,
        }
        env = {f"GRAPHMESH_ORCHESTRATOR_{name}": value for name, value in settings.items()}
        process = await self.program(["-m", module], env, grpc_health(address))
        return Served(await self.stack.enter_async_context(Client(address)), process)

    async def program(self, arguments: list[str], env: dict[str, str], probe: Probe) -> psutil.Process:
        """One in Python."""
        name = f"process-{len(self.supervisor.children)}"
        program = Program(
            name=name,
            argv=[sys.executable, *arguments],
            log=self.folder / f"{name}.log",
            probe=probe,
            env={**self.environment, **env},
        )
        return await self.start(program)

    async def start(self, program: Program) -> psutil.Process:
        [child] = await self.supervisor.start([program])
        return psutil.Process(child.pid)

    def add(self, name: Name, turn: Turn, *processes: psutil.Process, only: Sequence[int] = ()) -> None:
        """Without a process it is this one; what remote nodes call comes along with them."""
        behind = self.behind if name.orchestrator is Name.MESH_SYNC else []
        executing = [one for process in processes for one in tree(process)] or [psutil.Process()]
        self.kinds.append(Kind(name, turn, [*executing, *behind], only))


@asynccontextmanager
async def rig(plan: Plan) -> AsyncIterator[tuple[Rig, Meter]]:
    """All kinds of `plan`, and the meter of their PostgreSQL."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphmesh-bench-")))
        server = await stack.enter_async_context(backends.postgres())
        meter = await stack.enter_async_context(metering(server))
        supervisor = await stack.enter_async_context(Supervisor(OnDeath.STOP))
        mesh = meshed.mesh_of(billing=(CHASSIS, reserve_port()))
        made = Rig(stack, folder, server, supervisor, mesh, {graph.STATE_KB: str(plan.state_kb)})
        _register(folder)
        await _served(made, plan)
        await _in_process(made)
        await meter.imitate_disk(plan.flush_ms)
        yield made, meter


def _register(folder: Path) -> None:
    """The registry of the graphs; its entries are relative to its folder."""
    modules = {"calling": calling, "working": graph, "staying": graph, "asking": graph}
    files = {name: os.path.relpath(str(module.__file__), folder) for name, module in modules.items()}
    graphs = {name: f"{file}:{name}" for name, file in files.items()}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))


async def _in_process(rig: Rig) -> None:
    rig.stack.enter_context(patch.dict(os.environ, rig.environment))
    url = await rig.database()
    await set_up(url)
    theirs = await rig.stack.enter_async_context(official_saver(url))
    database = await rig.stack.enter_async_context(open_database(await rig.database(), MIGRATIONS))
    commits = await rig.stack.enter_async_context(GroupCommit(database).running())
    ours = LogSaver(database, commits)
    savers: dict[Name, Any] = {Name.PLAIN: None, Name.OFFICIAL: theirs, Name.LOG: ours}
    for name, saver in savers.items():
        rig.add(name, kinds.in_process(graph.working.compile(checkpointer=saver)))
    channel = await rig.stack.enter_async_context(Channel(rig.mesh.mesh.target))
    compiled = calling.calling.compile(checkpointer=ours)
    rig.add(Name.MESH_LOG, kinds.in_process(compiled, lambda: meshed.run_context(channel)), only=[1])


async def _served(rig: Rig, plan: Plan) -> None:
    """All that is a process of its own."""
    ours, theirs, none = await asyncio.gather(*map(rig.orchestrator, (OURS, OFFICIAL, NOTHING)))
    full, over_http, _ = await asyncio.gather(_full(rig, plan.rows), _recipe(rig), _behind(rig))
    rig.add(Name.SYNC, kinds.synchronous(ours.client), ours.process)
    rig.add(Name.BACKGROUND, kinds.background(ours.client), ours.process)
    rig.add(Name.ON_OFFICIAL, kinds.synchronous(theirs.client), theirs.process)
    rig.add(Name.NOTHING, kinds.synchronous(none.client), none.process)
    if full:
        rig.add(Name.FULL, kinds.synchronous(full.client), full.process)
    rig.add(Name.RECIPE, *over_http)
    pair = await _pair(rig)
    turns = [kinds.synchronous(one.client) for one in pair]
    rig.add(Name.PAIR, kinds.in_turns(turns), *(one.process for one in pair), only=[16])
    rig.add(Name.MESH_SYNC, kinds.synchronous(ours.client, "calling"), ours.process)
    rig.add(Name.MESH_ON_OFFICIAL, kinds.synchronous(theirs.client, "calling"), theirs.process, only=[16])
    rig.add(Name.MESH_NOTHING, kinds.synchronous(none.client, "calling"), none.process)


async def _pair(rig: Rig) -> Sequence[Served]:
    """As many orchestrators as the recipe has workers, on one database."""
    first = await rig.orchestrator(OURS, database := await rig.database())
    return [first, *await asyncio.gather(*(rig.orchestrator(OURS, database) for _ in range(WORKERS - 1)))]


async def _full(rig: Rig, rows: int) -> Served | None:
    """An orchestrator with so many stored runs, if any."""
    if not rows:
        return None
    full = await rig.orchestrator(OURS)
    await kinds.synchronous(full.client)()
    await store_runs(full.process.environ()["GRAPHMESH_ORCHESTRATOR_DATABASE_URL"], rows)
    return full


async def _behind(rig: Rig) -> None:
    """Envoy, and the service behind it."""
    service = meshed.serving(rig.folder, LOG_LEVEL, rig.mesh.services["billing"].target)
    rig.behind += await asyncio.gather(*map(rig.start, (service, meshed.routing(rig.mesh, rig.folder / "envoy"))))
    await meshed.healthy(rig.mesh, CHASSIS)


async def _recipe(rig: Rig) -> tuple[Turn, psutil.Process]:
    redis, url, port = await rig.stack.enter_async_context(backends.redis()), await rig.database(), reserve_port()
    await set_up(url)
    arguments = ["-m", "uvicorn", f"{recipe.__name__}:app", "--port", str(port), "--workers", str(WORKERS)]
    env = {recipe.DATABASE: url, recipe.REDIS: redis.url}
    options = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"]
    options += ["--timeout-worker-healthcheck", "60"]  # a worker that is busy is no dead one
    process = await rig.program([*arguments, *options], env, http(f"http://127.0.0.1:{port}/"))
    return kinds.over_http(await rig.stack.enter_async_context(connections(port))), process
