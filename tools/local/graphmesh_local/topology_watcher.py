"""mesh.yaml of a running mesh: loaded with the same free ports each time, and polled for edits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import EnvoyRefusal, validate
from graphmesh_mesh.topology import Listener, Mesh, MeshError, load

from graphmesh_local.child_process import reserve_port

POLL_SECONDS = 0.5
"""Seconds between two polls of the file."""

Notify = Callable[[str], None]
"""Displays one sentence to the operator."""


class MeshSource:
    """The mesh.yaml of one run. Free ports are reserved at the first load and reused by each further one."""

    def __init__(
        self, path: Path, environment: str, free_ports: bool, reroute: Callable[[Mesh], Mesh] = lambda mesh: mesh
    ) -> None:
        """`reroute` returns the mesh as Envoy is to connect to it."""
        self.path = path
        self._reroute = reroute
        self._environment = environment
        self._free_ports = free_ports
        self._reserved: list[int] = []

    def load(self) -> Mesh:
        """Load the mesh.

        Raises:
            MeshError: the file breaks a rule, or names servers on other machines.
        """
        try:
            mesh = load(self.path, self._environment)
        except OSError as error:
            raise MeshError(f"{self.path}: {error.strerror}") from error
        if self._free_ports:
            return mesh.on_loopback(self._ports().__next__)
        if remote := [f"{name}: {service.address}" for name, service in mesh.services.items() if service.is_dns_name]:
            raise MeshError(f"{self.path}: {', '.join(remote)}: not on this machine; --free-ports runs all of it here")
        return mesh

    def render(self, mesh: Mesh) -> dict[str, bytes]:
        """Return the content of Envoy's files, by name."""
        return render(self._reroute(mesh))

    def stamp(self) -> tuple[int, ...]:
        """Return a value that differs after an edit of the file."""
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _ports(self) -> Iterator[int]:
        yield from list(self._reserved)
        while True:
            self._reserved.append(reserve_port())
            yield self._reserved[-1]


def listeners(mesh: Mesh) -> dict[str, Listener]:
    """Return every listener by its path in mesh.yaml."""
    replicas = {
        f"services.{name} ({number})": listener
        for name, service in mesh.services.items()
        for number, listener in enumerate(service.replica_listeners, start=1)
    }
    return {"edge": mesh.edge, "mesh": mesh.mesh, "admin": mesh.admin, **replicas}


@asynccontextmanager
async def applying_edits(source: MeshSource, mesh: Mesh, envoy: Path, notify: Notify) -> AsyncIterator[None]:
    """Render edits of mesh.yaml into the folder `envoy` while the body runs. An invalid edit changes nothing."""
    task = asyncio.create_task(_poll_edits(source, mesh, envoy, notify), name="poll mesh.yaml")
    try:
        yield
    finally:
        task.cancel()


async def _poll_edits(source: MeshSource, mesh: Mesh, envoy: Path, notify: Notify) -> None:
    seen = source.stamp()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (stamp := source.stamp()) == seen:
            continue
        seen = stamp
        try:
            notify(await asyncio.to_thread(_apply, source, mesh, envoy))
        except (MeshError, EnvoyRefusal) as error:
            notify(f"{source.path.name} changed, but the change is not applied: {error}")


def _apply(source: MeshSource, running: Mesh, envoy: Path) -> str:
    """Validate and write what an edit changes, and return a sentence about it."""
    edited = source.load()
    if _structure(edited) != _structure(running):
        raise MeshError("restart the mesh to change its services or their addresses")
    files = source.render(edited)
    validate(files)
    written = write(envoy, files, mode=0o600)
    if not written:
        return f"{source.path.name} changed, but no setting of Envoy"
    return f"{source.path.name} changed: Envoy reloads {', '.join(written)}; restart the mesh to apply it to servers"


def _structure(mesh: Mesh) -> object:
    """Return the part of a mesh that cannot change while it runs."""
    return listeners(mesh), {name: (one.service, one.beside, one.module) for name, one in mesh.services.items()}
