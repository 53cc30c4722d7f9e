"""A whole mesh as processes: Envoy, every service of mesh.yaml and the orchestrator, in one state folder."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.workload import Workload
from graphmesh_contracts.workloads import COMMANDS
from graphmesh_mesh.contracts import contract_files
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.sample import MESH_FILE, default_mesh_file
from graphmesh_mesh.service import Listener
from graphmesh_mesh.topology import Mesh

from graphmesh_local.call_keys import open_call_keys
from graphmesh_local.certificates import certified, mutual_tls, secured
from graphmesh_local.child_process import Child
from graphmesh_local.cluster_health import Notify, wait_for_own_services, watching_external_services
from graphmesh_local.development_issuer import TENANT, credentials, token_source, with_development_issuer
from graphmesh_local.server_programs import ORCHESTRATOR, check_programs, local_address, mesh_programs, own_services
from graphmesh_local.spawning import Spawner, spawn_process
from graphmesh_local.state_folder import DEFAULT_STATE, MeshState, ProcessState, StateFolder
from graphmesh_local.supervisor import OnDeath, Supervisor
from graphmesh_local.topology_watcher import MeshSource, applying_edits, own_listeners
from graphmesh_local.trace_receiver import TraceReceiver

PROJECT = Path("langgraph.json")
"""The project of the graphs, unless the setting names another one."""
GRAPHS_SETTING = "GRAPHMESH_ORCHESTRATOR_GRAPHS"
"""The environment variable of an orchestrator with the path of its langgraph.json."""

ROLES_SETTING = "GRAPHMESH_ORCHESTRATOR_ROLES"
"""The environment variable of an orchestrator with the path of the file of roles."""

FindInterpreter = Callable[[Path], Awaitable[Path | None]]
"""Returns an interpreter in an environment below a folder; None: that of this process."""


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

    def channel(self) -> Channel:
        """Return a channel to the mesh listener, with the credentials of commands."""
        return Channel(local_address(self.mesh.mesh), signer=CallSigner(self.folder.call_key), workload=self.workload())

    def workload(self, name: str = COMMANDS) -> Workload:
        """Return the certificate of a workload."""
        tls = mutual_tls(self.mesh)
        return Workload(tls.certificate(name), tls.authorities)

    def token(self, tenant: str = TENANT, subject: str = "", roles: Sequence[str] = ()) -> Callable[[], Awaitable[str]]:
        """Return what makes tokens for a client of the edge; by default those of a developer."""
        return token_source(self.folder, tenant, subject, roles)

    def child(self, name: str) -> Child:
        """Return a process by name: `envoy`, `billing`, or with several replicas `billing-1`."""
        return next(child for child in self.supervisor.children if child.program.name == name)


@asynccontextmanager
async def running_mesh(
    mesh_file: Path | None = None,
    state: Path = DEFAULT_STATE,
    *,
    environment: str = "",
    free_ports: bool = False,
    on_death: OnDeath = OnDeath.STOP,
    orchestrator_python: FindInterpreter | None = None,
    settings: Mapping[str, str] | None = None,
    process_settings: Mapping[str, Mapping[str, str]] | None = None,
    reroute: Callable[[Mesh], Mesh] = lambda mesh: mesh,
    receiver: bool = False,
    spawn: Spawner = spawn_process,
    on_change: Callable[[Child], None] = lambda child: None,
    notify: Notify = lambda text: None,
) -> AsyncIterator[RunningMesh]:
    """Start a mesh, yield it when all of it is ready, stop it in order.

    Args:
        mesh_file: by default that of the current folder, else that of the sample.
        orchestrator_python: finds or makes the interpreter of the orchestrator, unless mesh.yaml states how to start
            it. By default it is that of this process.
        settings: environment variables of the servers, added to those of this process.
        process_settings: further ones of single servers, by the names of their processes: `billing`, `orchestrator-2`.
        reroute: returns the mesh as Envoy is to have it: with proxies between it and the servers. Tokens of calls and
            mutual TLS are added to it, and tokens at the edge, unless an authenticating proxy is in front of it.
        receiver: start a receiver of spans, and trace, unless mesh.yaml has a collector.
        on_change: called with each process that starts, becomes ready or dies.
        notify: called with the result of each edit of mesh.yaml, each change of an external service's health, and
            each service without TLS.

    Raises:
        MeshError: mesh.yaml breaks a rule, a program or module in it does not exist, one of its ports is in use,
            callers would not be identified, or `orchestrator_python` raises it.
        MeshBusy: another mesh runs from `state`.
        ProcessError: a process did not become ready.
    """
    graphs = {**os.environ, **(settings or {})}.get(GRAPHS_SETTING)
    folder = StateFolder(state)

    def as_envoy_has_it(mesh: Mesh) -> Mesh:
        if not has_roles:
            mesh = mesh.model_copy(update={"roles": None})
        return secured(_with_identity(reroute(mesh), folder), folder.certificates)

    path = mesh_file or default_mesh_file()
    has_roles = are_roles_of_graphs(mesh_file, graphs)
    project = Path(graphs or PROJECT)
    extend = TraceReceiver().added_to if receiver else lambda mesh: mesh
    source = MeshSource(path, environment, free_ports, as_envoy_has_it, project, also=[folder.revoked], extend=extend)
    mesh = source.start()
    with folder.locked():
        _check_identity(mesh, settings or {})
        _check_ports(mesh)
        mesh = secured(mesh, folder.certificates)
        open_call_keys(folder.path)
        _warn_of_plaintext(mesh, notify)
        started = await _with_interpreter(mesh, folder, orchestrator_python)
        await check_programs(started)
        roles = _write_roles(folder, source, mesh)
        write(folder.envoy, source.render(mesh), mode=0o600)
        _replace_contracts(folder, mesh)
        async with certified(mesh, folder.certificates), Supervisor(on_death, spawn) as supervisor:
            _keep_state_file(supervisor, folder, mesh, environment)
            supervisor.subscribe(on_change)
            required = {**_required_identity(as_envoy_has_it(mesh)), **roles, **(settings or {})}
            programs = mesh_programs(started, environment, folder, required, process_settings or {})
            await supervisor.start(*programs)
            admin = local_address(mesh.admin)
            await wait_for_own_services(mesh, admin)
            async with (
                _credentials(mesh, folder),
                applying_edits(source, folder, notify),
                watching_external_services(lambda: source.applied, admin, notify),
            ):
                yield RunningMesh(mesh, folder, supervisor)


def _warn_of_plaintext(mesh: Mesh, notify: Notify) -> None:
    for name, service in own_services(mesh).items():
        if service.plaintext:
            targets = " and ".join(listener.target for listener in service.replica_listeners)
            notify(f"services.{name} is plaintext: any program that reaches {targets} can call it")


def are_roles_of_graphs(mesh_file: Path | None, graphs: str | None) -> bool:
    """Whether the roles of a mesh are those of its graphs: the roles of the sample name graphs that no other has.

    Args:
        mesh_file: the one that is named; None: that of the present folder, or else the sample's.
        graphs: the langgraph.json that is named; None: that of the present folder.
    """
    return mesh_file is not None or (graphs is None and default_mesh_file() == MESH_FILE)


def _with_identity(mesh: Mesh, folder: StateFolder) -> Mesh:
    """Return the mesh with tokens at the edge, unless an authenticating proxy in front of it identifies callers."""
    return mesh if mesh.edge.identity == "forwarded" else with_development_issuer(mesh, folder)


def _credentials(mesh: Mesh, folder: StateFolder) -> AbstractAsyncContextManager[None]:
    """Keep a token for clients, where the mesh has the development issuer."""
    return nullcontext() if mesh.edge.identity == "forwarded" else credentials(folder, local_address(mesh.edge))


async def _with_interpreter(mesh: Mesh, folder: StateFolder, find: FindInterpreter | None) -> Mesh:
    orchestrator = mesh.services.get(ORCHESTRATOR)
    if find is None or orchestrator is None or orchestrator.external or orchestrator.python or orchestrator.command:
        return mesh
    python = await find(folder.environments)
    if python is None:
        return mesh
    changed = orchestrator.model_copy(update={"python": python})
    return mesh.model_copy(update={"services": {**mesh.services, ORCHESTRATOR: changed}})


def _write_roles(folder: StateFolder, source: MeshSource, mesh: Mesh) -> dict[str, str]:
    """Write the file of roles, and return the setting of orchestrators with its path. Raises MeshError."""
    files = source.role_files(mesh)
    write(folder.path, files, mode=0o600)
    return {ROLES_SETTING: str(folder.roles)} if files else {}


def _replace_contracts(folder: StateFolder, mesh: Mesh) -> None:
    """Write the descriptor sets that graphs use, and delete those of a mesh that ran from this folder before."""
    files = contract_files(mesh)
    write(folder.contracts, files, mode=0o600)
    for path in folder.contracts.iterdir():
        if path.name not in files:
            path.unlink()


def _check_identity(mesh: Mesh, settings: Mapping[str, str]) -> None:
    """A call without identity must not be the local developer's, with every scope. Raises MeshError."""
    if mesh.identity_is_open:
        raise MeshError("edge.identity: open is for test kits, which start no mesh: remove it, and callers need tokens")
    if mesh.edge.identity != "forwarded":
        return
    needed = [f"GRAPHMESH_{name.upper()}_IDENTITY" for name in mesh.edge.services if name in own_services(mesh)]
    missing = [f"{name}=required" for name in needed if {**os.environ, **settings}.get(name) != "required"]
    if missing:
        raise MeshError(f"edge.identity is forwarded, so services have to identify callers: set {', '.join(missing)}")


def _required_identity(mesh: Mesh) -> dict[str, str]:
    """Return the settings by which the services at an edge with tokens refuse calls without the claims of one."""
    names = mesh.edge.services if mesh.edge.identity == "tokens" else ()
    return {f"GRAPHMESH_{name.upper()}_IDENTITY": "required" for name in names}


def _check_ports(mesh: Mesh) -> None:
    taken = [f"{name}: {listener.target}" for name, listener in own_listeners(mesh).items() if not _is_free(listener)]
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
        certificates=mutual_tls(mesh).folder,
        services={name: tuple(map(local_address, one.replica_listeners)) for name, one in mesh.services.items()},
        processes={child.program.name: _process_state(child) for child in children},
    )


def _process_state(child: Child) -> ProcessState:
    program = child.program
    return ProcessState(
        address=program.address,
        pid=child.pid,
        state=child.state.value,
        starts=child.starts,
        log=program.log,
        metrics=program.metrics,
    )
