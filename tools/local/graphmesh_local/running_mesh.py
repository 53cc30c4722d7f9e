"""A whole mesh as processes: Envoy, every service of mesh.yaml and the orchestrator, in one state folder."""

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
from graphmesh_mesh.topology import Listener, Mesh, MeshError, Service

from graphmesh_local.child_process import Child, Program
from graphmesh_local.probes import PROBE_PERIOD, grpc_health_probe, http_get, http_probe
from graphmesh_local.spawning import Spawner, spawn_process
from graphmesh_local.state_folder import DEFAULT_STATE, MeshState, ProcessState, StateFolder
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_local.topology_watcher import MeshSource, Notify, applying_edits, listeners

MESH_FILE = Path("deploy/mesh.yaml")
ORCHESTRATOR = "orchestrator"
GRAPHS_SETTING = "GRAPHMESH_ORCHESTRATOR_GRAPHS"
"""The environment variable of an orchestrator with the path of its langgraph.json."""
DATA_FILES = {"sql": {"SAMPLE": "sample-warehouse.db"}}
"""Files of a server beside its database, by the setting that names the file."""
STOP_TIMEOUT = 15.0
"""Seconds between SIGTERM and SIGKILL of a server; longer than a drain takes."""
LINGER_SECONDS = 2.5
"""Seconds that one of several replicas still serves after SIGTERM, until two health checks of Envoy have failed."""
HEALTHY_TIMEOUT = 15.0
"""Seconds until Envoy's health checks must have passed for all replicas."""


@dataclass(frozen=True)
class RunningMesh:
    """A mesh whose processes were all ready."""

    mesh: Mesh
    """With its actual addresses."""
    folder: StateFolder
    supervisor: Supervisor

    @property
    def edge(self) -> str:
        """host:port for clients."""
        return local_address(self.mesh.edge)

    async def restart(self, name: str) -> None:
        """Start a process again that has died.

        Raises:
            ProcessError: it did not become ready.
        """
        await self.supervisor.restart(self.child(name))

    def child(self, name: str) -> Child:
        """Return a process by name: `envoy`, `billing`, or with several replicas `billing-1`."""
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
    process_settings: Mapping[str, Mapping[str, str]] | None = None,
    reroute: Callable[[Mesh], Mesh] = lambda mesh: mesh,
    spawn: Spawner = spawn_process,
    on_change: Callable[[Child], None] = lambda child: None,
    notify: Notify = lambda text: None,
) -> AsyncIterator[RunningMesh]:
    """Start a mesh, yield it when all of it is ready, stop it in order.

    Args:
        settings: environment variables of the servers, added to those of this process.
        process_settings: further ones of single servers, by the names of their processes: `billing`, `orchestrator-2`.
        reroute: returns the mesh as Envoy is to connect to it, where proxies are between it and the servers.
        on_change: called with each process that starts, becomes ready or dies.
        notify: called with the result of each edit of mesh.yaml.

    Raises:
        MeshError: mesh.yaml breaks a rule, one of its ports is in use, or callers would not be identified.
        MeshBusy: another mesh runs from `state`.
        ProcessError: a process did not become ready.
    """
    source = MeshSource(mesh_file, environment, free_ports, reroute)
    mesh, folder = source.load(), StateFolder(state)
    with folder.locked():
        _check_identity(mesh, settings or {})
        _check_ports(mesh)
        write(folder.envoy, source.render(mesh), mode=0o600)
        async with Supervisor(on_death, spawn) as supervisor:
            _keep_state_file(supervisor, folder, mesh, environment)
            supervisor.subscribe(on_change)
            await supervisor.start(*_programs(mesh, environment, folder, settings or {}, process_settings or {}))
            await _wait_for_healthy_clusters(mesh)
            async with applying_edits(source, mesh, folder.envoy, notify):
                yield RunningMesh(mesh, folder, supervisor)


def local_address(listener: Listener) -> str:
    """Return the host:port at which a client on this machine reaches a listener."""
    return f"127.0.0.1:{listener.port}" if listener.address == "0.0.0.0" else listener.target


def replica_names(name: str, service: Service) -> list[str]:
    """Return the names of a service's processes."""
    return [f"{name}-{number}" for number in range(1, service.replicas + 1)] if service.replicas > 1 else [name]


def _programs(
    mesh: Mesh,
    environment: str,
    folder: StateFolder,
    settings: Mapping[str, str],
    process_settings: Mapping[str, Mapping[str, str]],
) -> list[list[Program]]:
    """Return the programs in groups, which are stopped in reverse: the orchestrator drains while services still run."""
    names = {f"GRAPHMESH_{name.upper()}_ENVIRONMENT": environment for name in mesh.services if environment}
    servers = {name: _servers(mesh, name, folder, {**names, **settings}, process_settings) for name in mesh.services}
    orchestrators = servers.pop(ORCHESTRATOR, [])
    return [[server for group in servers.values() for server in group], [_envoy(mesh, folder)], orchestrators]


def _servers(
    mesh: Mesh,
    name: str,
    folder: StateFolder,
    settings: Mapping[str, str],
    process_settings: Mapping[str, Mapping[str, str]],
) -> list[Program]:
    """Return a program for each replica of a service."""
    service = mesh.services[name]
    return [
        _server(mesh, name, label, listener, folder, {**settings, **process_settings.get(label, {})})
        for label, listener in zip(replica_names(name, service), service.replica_listeners, strict=True)
    ]


def _server(
    mesh: Mesh, name: str, label: str, listener: Listener, folder: StateFolder, settings: Mapping[str, str]
) -> Program:
    service = mesh.services[name]
    return Program(
        name=label,
        argv=[sys.executable, "-m", service.module],
        log=folder.logs / f"{label}.log",
        probe=grpc_health_probe(local_address(listener), service.service),
        address=listener.target,
        env={**_environment(mesh, name, service, listener, folder), **settings},
        stop_timeout=STOP_TIMEOUT,
    )


def _environment(mesh: Mesh, name: str, service: Service, listener: Listener, folder: StateFolder) -> dict[str, str]:
    """Return a server's settings. The locations of its data are only set where the user's environment does not."""
    prefix = f"GRAPHMESH_{name.upper()}_"
    data = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder.databases / name}.db"}
    data |= {setting: str(folder.databases / file) for setting, file in DATA_FILES.get(name, {}).items()}
    settings = {setting: value for setting, value in data.items() if f"{prefix}{setting}" not in os.environ}
    settings |= {"LISTEN": listener.target, "POLICY": service.overrides.dump()}
    if service.replicas > 1:
        settings["LINGER_SECONDS"] = str(LINGER_SECONDS)
    if name == ORCHESTRATOR:
        policies = {tool.service: asdict(tool.overrides) for tool in mesh.services.values()}
        settings |= {"MESH": local_address(mesh.mesh), "TOOL_POLICIES": json.dumps(policies)}
    return {f"{prefix}{setting}": value for setting, value in settings.items()}


def _envoy(mesh: Mesh, folder: StateFolder) -> Program:
    return Program(
        name="envoy",
        argv=serve_command(),
        log=folder.logs / "envoy.log",
        probe=http_probe(f"http://{local_address(mesh.admin)}/ready"),
        address=mesh.edge.target,
        folder=folder.envoy,
    )


def _check_identity(mesh: Mesh, settings: Mapping[str, str]) -> None:
    """Behind an authenticating proxy, a call without identity must not be the local developer's, with every scope."""
    if mesh.edge.identity != "forwarded":
        return
    needed = [f"GRAPHMESH_{name.upper()}_IDENTITY" for name in mesh.services]
    missing = [f"{name}=required" for name in needed if {**os.environ, **settings}.get(name) != "required"]
    if missing:
        raise MeshError(f"edge.identity is forwarded, so services have to identify callers: set {', '.join(missing)}")


def _check_ports(mesh: Mesh) -> None:
    taken = [f"{name}: {listener.target}" for name, listener in listeners(mesh).items() if not _is_free(listener)]
    if taken:
        raise MeshError(f"in use by another program: {', '.join(taken)}; --free-ports avoids them")


def _is_free(listener: Listener) -> bool:
    try:
        with closing(socket.create_server((listener.address, listener.port))):
            return True
    except OSError:
        return False


def _keep_state_file(supervisor: Supervisor, folder: StateFolder, mesh: Mesh, environment: str) -> None:
    """Write mesh.json at each change of a process."""

    def write_state(_: Child) -> None:
        folder.write(_state(mesh, environment, supervisor.children))

    supervisor.subscribe(write_state)


def _state(mesh: Mesh, environment: str, children: Sequence[Child]) -> MeshState:
    return MeshState(
        pid=os.getpid(),
        environment=environment,
        edge=local_address(mesh.edge),
        mesh=local_address(mesh.mesh),
        admin=local_address(mesh.admin),
        services={name: tuple(map(local_address, one.replica_listeners)) for name, one in mesh.services.items()},
        processes={child.program.name: _process_state(child) for child in children},
    )


def _process_state(child: Child) -> ProcessState:
    program = child.program
    return ProcessState(
        address=program.address, pid=child.pid, state=child.state.value, starts=child.starts, log=program.log
    )


async def _wait_for_healthy_clusters(mesh: Mesh) -> None:
    """Wait until Envoy's own health checks have passed for all replicas; calls through it would fail before."""
    url = f"http://{local_address(mesh.admin)}/stats?filter=membership_(healthy|total)$"
    unhealthy = sorted(mesh.services)
    try:
        async with asyncio.timeout(HEALTHY_TIMEOUT):
            while unhealthy := _unhealthy_clusters((await http_get(url)).body):
                await asyncio.sleep(PROBE_PERIOD)
    except TimeoutError:
        raise MeshError(f"Envoy's health checks fail for: {', '.join(unhealthy)}") from None


def _unhealthy_clusters(stats: str) -> list[str]:
    """Return the clusters with unhealthy members, from lines such as `cluster.billing.membership_total: 1`."""
    counts = {key: int(value) for key, _, value in (line.partition(": ") for line in stats.splitlines()) if value}
    totals = {key.removesuffix(".membership_total") for key in counts if key.endswith(".membership_total")}
    return sorted(
        name.removeprefix("cluster.")
        for name in totals
        if counts[f"{name}.membership_healthy"] < counts[f"{name}.membership_total"]
    )
