"""The processes under measurement: one PostgreSQL, a database and processes for each variant."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import psutil
from graphmesh_chaos.mesh_files import write_registry
from graphmesh_client import Client
from graphmesh_local import backends
from graphmesh_local.child_process import Program, reserve_port
from graphmesh_local.probes import Probe, grpc_health_probe
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_mesh.topology import Mesh

from graphmesh_bench.mesh import envoy_program, mesh_with, server_program, wait_until_routed
from graphmesh_bench.runs import local_graphs, remote_graph
from graphmesh_bench.runs.local_graphs import BLOCKING, INTERRUPTING, LOCAL, REMOTE, STATE_KB
from graphmesh_bench.runs.resource_usage import UsageReader, process_tree, usage_reader
from graphmesh_bench.runs.variants import Iteration, Variant, VariantName
from graphmesh_bench.server import CHASSIS

PRODUCT = "graphmesh_orchestrator"
"""The module of the orchestrator as it is released."""
LOG_LEVEL = "warning"
"""The log level of the orchestrators and the service."""
GRAPHS = {
    LOCAL: (Path(local_graphs.__file__), "local_graph"),
    REMOTE: (Path(remote_graph.__file__), "remote_graph"),
    BLOCKING: (Path(local_graphs.__file__), "blocking_graph"),
    INTERRUPTING: (Path(local_graphs.__file__), "interrupting_graph"),
}


@dataclass(frozen=True)
class Orchestrator:
    client: Client
    process: psutil.Process
    database_url: str


@dataclass
class Harness:
    """Starts processes, which end with the stack."""

    stack: AsyncExitStack
    folder: Path
    server: backends.Postgres
    usage: UsageReader
    supervisor: Supervisor
    mesh: Mesh
    environment: dict[str, str]
    """Environment variables of all processes."""
    mesh_processes: list[psutil.Process] = field(default_factory=list)
    """Envoy and the service, which remote nodes call."""
    variants: list[Variant] = field(default_factory=list)

    async def create_database(self) -> str:
        """Returns its URL."""
        return await self.stack.enter_async_context(self.server.database())

    async def start_orchestrator(
        self,
        module: str,
        database: str = "",
        python: str = sys.executable,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Orchestrator:
        """Start an orchestrator, with a new database if none is given.

        Args:
            python: the interpreter that has it.
            settings: further settings, by their names in capitals.
        """
        address, url = f"127.0.0.1:{reserve_port()}", database or await self.create_database()
        own = {
            "DATABASE_URL": url,
            "LISTEN": address,
            "MESH": self.mesh.mesh.target,
            "GRAPHS": str(self.folder / "langgraph.json"),
            "LOG_LEVEL": LOG_LEVEL,
        }
        env = {f"GRAPHMESH_ORCHESTRATOR_{name}": value for name, value in {**own, **settings}.items()}
        process = await self.start_python(["-m", module], env, grpc_health_probe(address), python)
        return Orchestrator(await self.stack.enter_async_context(Client(address)), process, url)

    async def start_python(
        self, arguments: list[str], env: dict[str, str], probe: Probe, python: str = sys.executable
    ) -> psutil.Process:
        name = f"process-{len(self.supervisor.children)}"
        program = Program(
            name=name,
            argv=[python, *arguments],
            log=self.folder / f"{name}.log",
            probe=probe,
            env={**self.environment, **env},
        )
        return await self.start(program)

    async def start(self, program: Program) -> psutil.Process:
        [child] = await self.supervisor.start([program])
        return psutil.Process(child.pid)

    def add(
        self, name: VariantName, iterate: Iteration, *processes: psutil.Process, callers: Sequence[int] = ()
    ) -> None:
        """Add a variant that `processes` execute, or without any this process."""
        executing = [one for process in processes for one in process_tree(process)] or [psutil.Process()]
        called = self.mesh_processes if name.is_on_mesh else []
        self.variants.append(Variant(name, iterate, [*executing, *called], callers))

    async def start_mesh(self, env: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start Envoy, and the service behind it, which has these variables in its environment."""
        target = self.mesh.services["billing"].replica_listeners[0].target
        service = replace(server_program(self.folder, LOG_LEVEL, target), env=dict(env))
        envoy = envoy_program(self.mesh, self.folder / "envoy")
        self.mesh_processes += await asyncio.gather(self.start(service), self.start(envoy))
        await wait_until_routed(self.mesh, CHASSIS)


@asynccontextmanager
async def open_harness(state_kb: int) -> AsyncIterator[Harness]:
    """A harness without variants."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphmesh-bench-")))
        write_registry(folder, GRAPHS)
        server = await stack.enter_async_context(backends.postgres())
        usage = await stack.enter_async_context(usage_reader(server))
        supervisor = await stack.enter_async_context(Supervisor(OnDeath.STOP))
        mesh = mesh_with(billing=(CHASSIS, reserve_port()))
        yield Harness(stack, folder, server, usage, supervisor, mesh, {STATE_KB: str(state_kb)})
