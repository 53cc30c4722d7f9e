"""mesh.yaml of a running mesh, with all files that it names: loaded with the same ports each time, polled for edits."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh_chassis.reread_file import stamp_of
from graphmesh_mesh.contracts import broken_contracts, contract_files
from graphmesh_mesh.envoy.documents import ECDS, ECDS_ROLES, ECDS_WORKLOADS
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import validate
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.service import Listener
from graphmesh_mesh.topology import Mesh, load

from graphmesh_local.child_process import reserve_port
from graphmesh_local.cluster_health import Notify
from graphmesh_local.project_files import graph_names
from graphmesh_local.server_programs import own_services
from graphmesh_local.state_folder import ROLES_FILE, StateFolder

POLL_SECONDS = 0.5
"""Seconds between two polls of the files."""

Stamps = Mapping[Path, tuple[int, ...]]
"""A value for each file and folder that differs after an edit; empty where it does not exist."""


class MeshSource:
    """The mesh.yaml of one run. Free ports are reserved at the first load and reused by each further one."""

    def __init__(
        self,
        path: Path,
        environment: str,
        free_ports: bool,
        reroute: Callable[[Mesh], Mesh] = lambda mesh: mesh,
        project: Path | None = None,
        also: Sequence[Path] = (),
        extend: Callable[[Mesh], Mesh] = lambda mesh: mesh,
    ) -> None:
        """
        Args:
            reroute: returns the mesh as Envoy is to connect to it.
            project: the langgraph.json with the names of the graphs, where that is known.
            also: further files that `reroute` reads.
            extend: returns the mesh with what is started beside it.
        """
        self._extend = extend
        self._also = also
        self._project = project
        self.path = path
        self.applied: Mesh
        """The mesh as it was last applied to Envoy."""
        self.started: Stamps
        """The stamps of the files of the mesh that was started."""
        self._reroute = reroute
        self._environment = environment
        self._free_ports = free_ports
        self._reserved: list[int] = []
        self._read: list[Path] = [path]

    def start(self) -> Mesh:
        """Load the mesh that is started. Raises as `load`."""
        self.applied = self.load()
        self.started = self.stamps()
        return self.applied

    def load(self) -> Mesh:
        """Load the mesh.

        Raises:
            MeshError: a file breaks a rule, or names servers on other machines.
        """
        self._read = []
        mesh = self._extend(load(self.path, self._environment, self._read))
        if self._free_ports:
            return mesh.on_loopback(self._ports().__next__)
        if remote := [f"{name}: {one.address}" for name, one in own_services(mesh).items() if one.is_dns_name]:
            raise MeshError(
                f"{self.path}: {', '.join(remote)}: not on this machine; --free-ports runs all of it here, and "
                "external: true is for services that others run"
            )
        return mesh

    def render(self, mesh: Mesh) -> dict[str, bytes]:
        """Return the content of Envoy's files, by name."""
        return render(self._reroute(mesh))

    def role_files(self, mesh: Mesh) -> dict[str, bytes]:
        """Return the file of roles that orchestrators read; none where the edge does not identify callers.

        Raises:
            MeshError: a role has a graph that langgraph.json does not have.
        """
        edge = self._reroute(mesh)
        if edge.identity_is_open or edge.roles is None:
            return {}
        try:
            if (graphs := graph_names(self._project)) is not None:
                edge.roles.check_graphs(graphs)
        except ValueError as error:
            raise MeshError(str(error)) from error
        return {ROLES_FILE: edge.roles.rendered(edge.contracts)}

    def stamps(self) -> Stamps:
        """Return the stamps of all files and folders that the last load has read."""
        return {path: stamp_of(path) for path in (*self._read, *self._also)}

    def name_of(self, path: Path) -> str:
        """Return the path of a file relative to the folder of mesh.yaml."""
        return os.path.relpath(path, self.path.parent)

    def _ports(self) -> Iterator[int]:
        yield from list(self._reserved)
        while True:
            self._reserved.append(reserve_port())
            yield self._reserved[-1]


def own_listeners(mesh: Mesh) -> dict[str, Listener]:
    """Return every listener of this mesh's processes by its path in mesh.yaml."""
    replicas = {
        f"services.{name} ({number})": listener
        for name, service in own_services(mesh).items()
        for number, listener in enumerate(service.replica_listeners, start=1)
    }
    egress = {f"egress.workloads.{name}": listener for name, listener in mesh.egress_listeners.items()}
    return {"edge": mesh.edge, "mesh": mesh.mesh, "admin": mesh.admin, **egress, **replicas}


@asynccontextmanager
async def applying_edits(source: MeshSource, folder: StateFolder, notify: Notify) -> AsyncIterator[None]:
    """Apply edits of mesh.yaml and the files that it names, while the body runs. An invalid edit changes nothing."""
    task = asyncio.create_task(_poll_edits(source, folder, notify), name="poll mesh.yaml")
    try:
        yield
    finally:
        task.cancel()


async def _poll_edits(source: MeshSource, folder: StateFolder, notify: Notify) -> None:
    seen = source.started
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (stamps := source.stamps()) == seen:
            continue
        changed = ", ".join(source.name_of(path) for path in stamps if stamps[path] != seen.get(path))
        try:
            applied = await asyncio.to_thread(_apply, source, folder)
            notify(f"{changed} changed{applied}")
        except Exception as error:  # also of a full disk, or of a file that changes meanwhile: the next edit is applied
            notify(f"{changed} changed, but the change is not applied: {error}")
        seen = {path: stamps.get(path, stamp) for path, stamp in source.stamps().items()}


def _apply(source: MeshSource, folder: StateFolder) -> str:
    """Validate and write what an edit changes, and return the end of a sentence about it."""
    edited = source.load()
    if _structure(edited) != _structure(source.applied):
        raise MeshError("restart the mesh to change its own services, their addresses or mesh.tls")
    if broken := broken_contracts(source.applied, edited):
        raise MeshError(f"it breaks the contract that graphs use: {'; '.join(broken)}; restart the mesh to use it")
    files, role_files = source.render(edited), source.role_files(edited)
    validate(files)
    contracts = write(folder.contracts, contract_files(edited), mode=0o600)
    roles = write(folder.path, role_files, mode=0o600)
    written = write(folder.envoy, files, mode=0o600)
    for_envoy = {ECDS, ECDS_ROLES, ECDS_WORKLOADS}
    of_files = set(written) - for_envoy and not _is_of_egress(source.applied, edited)
    of_servers = contracts or of_files or _limits(edited) != _limits(source.applied)
    restart = "; restart the mesh to apply it to servers" if of_servers else ""
    source.applied = edited
    if not written and not contracts and not roles:
        return f", but no setting of Envoy{restart}"
    applied = [f"Envoy reloads {', '.join(written)}"] if written else []
    applied += ["orchestrators reload the roles"] if roles else []
    return f": {', '.join(applied) or 'the contracts are stored'}{restart}"


def _is_of_egress(before: Mesh, edited: Mesh) -> bool:
    """Report whether an edit changes lists of hosts only, which are Envoy's."""
    return edited != before and edited.model_copy(update={"egress": before.egress}) == before


def _limits(mesh: Mesh) -> object:
    """Return what servers get at their start only: the overrides of policies, and the limits of graphs."""
    return {name: one.overrides for name, one in own_services(mesh).items()}, mesh.graphs


def _structure(mesh: Mesh) -> object:
    """Return the part of a mesh that cannot change while it runs. External services may come, change and go."""
    programs = {
        name: (one.service, one.beside, one.module, one.python, one.command, one.folder, one.env, one.plaintext)
        for name, one in own_services(mesh).items()
    }
    return own_listeners(mesh), programs, mesh.mesh.tls
