"""A whole mesh as processes: Envoy, every service of mesh.yaml and the orchestrator, from one state folder."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from pathlib import Path

from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.topology import Listener, Mesh, MeshError, Service

from graphmesh_local.child_process import Child, Program
from graphmesh_local.probes import PROBE_PERIOD, get, grpc_health, http
from graphmesh_local.spawning import Spawn, execute
from graphmesh_local.state_folder import DEFAULT_STATE, MeshState, ProcessState, StateFolder
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_local.topology_watcher import MeshSource, Notice, follow, listeners

MESH_FILE = Path("deploy/mesh.yaml")
ORCHESTRATOR = "orchestrator"
DATA_FILES = {"sql": {"SAMPLE": "sample-warehouse.db"}}
"""What a server keeps in files beside its database, by the setting that names the file."""
STOP_WITHIN = 15.0
"""Seconds; more than servers take to drain."""
NOTICED_SECONDS = 2.5
"""How long one of several replicas goes on serving when it is to stop: more than Envoy takes to see it (two checks)."""
MEMBERS_WITHIN = 15.0
"""Seconds until Envoy must have seen that all replicas are healthy."""


@dataclass(frozen=True)
class RunningMesh:
    """A mesh all of whose processes were ready."""

    mesh: Mesh
    """With the addresses that it really has."""
    folder: StateFolder
    supervisor: Supervisor

    @property
    def edge(self) -> str:
        """host:port for clients."""
        return reachable(self.mesh.edge)

    async def revive(self, name: str) -> None:
        """Start a process again that has died. Raises ProcessError where it cannot be brought up."""
        await self.supervisor.revive(self.child(name))

    def child(self, name: str) -> Child:
        """A process by name: `envoy`, `billing`, or with several replicas `billing-1`."""
        return next(child for child in self.supervisor.children if child.program.name == name)


@asynccontextmanager
async def running_mesh(
    mesh_file: Path = MESH_FILE,
    state: Path = DEFAULT_STATE,
    *,
    environment: str = "",
    free_ports: bool = False,
    on_death: OnDeath = OnDeath.STOP,
    settings: Mapping[str, str] | None = None,
    spawn: Spawn = execute,
    on_change: Callable[[Child], None] = lambda child: None,
    on_notice: Notice = lambda text: None,
) -> AsyncIterator[RunningMesh]:
    """Start a mesh, yield it when all of it is ready, stop it in order.

    Args:
        settings: environment variables for the servers, over those of this process.
        spawn: how its programs become processes.
        on_change: told of each process that starts, becomes ready or dies.
        on_notice: told what became of an edit of mesh.yaml.

    Raises:
        MeshError: mesh.yaml is bad, or one of its ports is taken.
        MeshBusy: another mesh runs from `state`.
        ProcessError: a process could not be brought up.
    """
    source = MeshSource(mesh_file, environment, free_ports)
    mesh, folder = source.load(), StateFolder(state)
    with folder.held():
        _check_ports(mesh)
        write(folder.envoy, render(mesh))

        def changed(child: Child) -> None:
            folder.write(_state(mesh, environment, supervisor.children))
            on_change(child)

        async with Supervisor(on_death, changed, spawn) as supervisor:
            await supervisor.start(*_programs(mesh, folder, settings or {}))
            await _all_members_healthy(mesh)
            following = asyncio.create_task(follow(source, mesh, folder.envoy, on_notice), name="follow mesh.yaml")
            try:
                yield RunningMesh(mesh, folder, supervisor)
            finally:
                following.cancel()


def reachable(listener: Listener) -> str:
    """Where to connect on this machine to what listens there."""
    return f"127.0.0.1:{listener.port}" if listener.address == "0.0.0.0" else listener.target


def _programs(mesh: Mesh, folder: StateFolder, settings: Mapping[str, str]) -> list[list[Program]]:
    """In the order of the start; stopped the other way round: the orchestrator drains while all it calls is there."""
    servers = {name: _servers(mesh, name, folder, settings) for name in mesh.services}
    orchestrators = servers.pop(ORCHESTRATOR, [])
    return [[server for group in servers.values() for server in group], [_envoy(mesh, folder)], orchestrators]


def _servers(mesh: Mesh, name: str, folder: StateFolder, settings: Mapping[str, str]) -> list[Program]:
    """One program a replica."""
    service = mesh.services[name]
    many = service.replicas > 1
    return [
        _server(mesh, name, f"{name}-{number}" if many else name, place, folder, settings)
        for number, place in enumerate(service.replica_listeners, start=1)
    ]


def _server(
    mesh: Mesh, name: str, label: str, place: Listener, folder: StateFolder, settings: Mapping[str, str]
) -> Program:
    service = mesh.services[name]
    return Program(
        name=label,
        argv=[sys.executable, "-m", service.module],
        log=folder.logs / f"{label}.log",
        probe=grpc_health(reachable(place), service.service),
        address=place.target,
        env={**_environment(mesh, name, service, place, folder), **settings},
        stop_within=STOP_WITHIN,
    )


def _environment(mesh: Mesh, name: str, service: Service, place: Listener, folder: StateFolder) -> dict[str, str]:
    """What the mesh tells a server. Where its data is, the user's own environment may say otherwise."""
    prefix = f"GRAPHMESH_{name.upper()}_"
    data = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder.databases / name}.db"}
    data |= {setting: str(folder.databases / file) for setting, file in DATA_FILES.get(name, {}).items()}
    told = {setting: value for setting, value in data.items() if f"{prefix}{setting}" not in os.environ}
    told |= {"LISTEN": place.target, "POLICY": service.overrides.dump()}
    if service.replicas > 1:
        told["LINGER_SECONDS"] = str(NOTICED_SECONDS)
    if name == ORCHESTRATOR:
        policies = {tool.service: asdict(tool.overrides) for tool in mesh.services.values()}
        told |= {"MESH": reachable(mesh.mesh), "TOOL_POLICIES": json.dumps(policies)}
    return {f"{prefix}{setting}": value for setting, value in told.items()}


def _envoy(mesh: Mesh, folder: StateFolder) -> Program:
    return Program(
        name="envoy",
        argv=serve_command(),
        log=folder.logs / "envoy.log",
        probe=http(f"http://{reachable(mesh.admin)}/ready"),
        address=mesh.edge.target,
        folder=folder.envoy,
    )


def _check_ports(mesh: Mesh) -> None:
    taken = [f"{name}: {place.target}" for name, place in listeners(mesh).items() if not _bindable(place)]
    if taken:
        raise MeshError(f"taken by another program: {', '.join(taken)}; --free-ports avoids them")


def _bindable(place: Listener) -> bool:
    try:
        with closing(socket.create_server((place.address, place.port))):
            return True
    except OSError:
        return False


def _state(mesh: Mesh, environment: str, children: Sequence[Child]) -> MeshState:
    return MeshState(
        pid=os.getpid(),
        environment=environment,
        edge=reachable(mesh.edge),
        mesh=reachable(mesh.mesh),
        admin=reachable(mesh.admin),
        services={name: tuple(map(reachable, one.replica_listeners)) for name, one in mesh.services.items()},
        processes={child.program.name: _process_state(child) for child in children},
    )


def _process_state(child: Child) -> ProcessState:
    program = child.program
    return ProcessState(
        address=program.address, pid=child.pid, state=child.state.value, starts=child.starts, log=program.log
    )


async def _all_members_healthy(mesh: Mesh) -> None:
    """Wait until Envoy's own health checks have passed everywhere; calls through it would fail before."""
    url = f"http://{reachable(mesh.admin)}/stats?filter=membership_(healthy|total)$"
    waiting = sorted(mesh.services)
    try:
        async with asyncio.timeout(MEMBERS_WITHIN):
            while waiting := _unhealthy((await get(url)).body):
                await asyncio.sleep(PROBE_PERIOD)
    except TimeoutError:
        raise MeshError(f"Envoy does not find healthy: {', '.join(waiting)}") from None


def _unhealthy(stats: str) -> list[str]:
    """The clusters that have fewer healthy members than members. A line is `cluster.billing.membership_total: 1`."""
    counts = {key: int(value) for key, _, value in (line.partition(": ") for line in stats.splitlines()) if value}
    totals = {key.removesuffix(".membership_total") for key in counts if key.endswith(".membership_total")}
    return sorted(
        name.removeprefix("cluster.")
        for name in totals
        if counts[f"{name}.membership_healthy"] < counts[f"{name}.membership_total"]
    )
