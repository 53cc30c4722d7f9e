"""mesh.yaml as one run uses it: read, and followed while people edit it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import EnvoyRefusal, validate
from graphmesh_mesh.topology import Listener, Mesh, MeshError, load

from graphmesh_local.child_process import reserve_port

WATCH_PERIOD = 0.5
"""Seconds between two looks at the file."""

Notice = Callable[[str], None]
"""Told of what a person should know, one sentence each."""


class MeshSource:
    """mesh.yaml as one run uses it. Read again, free ports are the same again."""

    def __init__(self, path: Path, environment: str, free_ports: bool) -> None:
        self.path = path
        self._environment = environment
        self._free_ports = free_ports
        self._reserved: list[int] = []

    def load(self) -> Mesh:
        """Raises MeshError where it is bad, or where it describes servers on other machines."""
        try:
            mesh = load(self.path, self._environment)
        except OSError as error:
            raise MeshError(f"{self.path}: {error.strerror}") from error
        if self._free_ports:
            return mesh.moved(self._ports().__next__)
        if elsewhere := [f"{name}: {service.address}" for name, service in mesh.services.items() if service.named]:
            raise MeshError(f"{self.path}: {', '.join(elsewhere)}: not on this machine; --free-ports puts all on it")
        return mesh

    def stamp(self) -> tuple[int, ...]:
        """Something that differs after an edit."""
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
    """Every listener by the name that mesh.yaml gives it."""
    replicas = {
        f"services.{name} ({number})": place
        for name, service in mesh.services.items()
        for number, place in enumerate(service.replica_listeners, start=1)
    }
    return {"edge": mesh.edge, "mesh": mesh.mesh, "admin": mesh.admin, **replicas}


async def follow(source: MeshSource, mesh: Mesh, envoy: Path, on_notice: Notice) -> None:
    """Give Envoy what an edit of mesh.yaml changes. A bad edit changes nothing."""
    seen = source.stamp()
    while True:
        await asyncio.sleep(WATCH_PERIOD)
        if (stamp := source.stamp()) == seen:
            continue
        seen = stamp
        try:
            on_notice(await asyncio.to_thread(_take_up, source, mesh, envoy))
        except (MeshError, EnvoyRefusal) as error:
            on_notice(f"{source.path.name} changed, but is not taken up: {error}")


def _take_up(source: MeshSource, running: Mesh, envoy: Path) -> str:
    edited = source.load()
    if _structure(edited) != _structure(running):
        raise MeshError("which services there are and where they listen changes with a restart only")
    files = render(edited)
    validate(files)
    written = write(envoy, files)
    if not written:
        return f"{source.path.name} changed, but nothing of it concerns Envoy"
    return (
        f"{source.path.name} changed: Envoy takes up {', '.join(written)}; servers keep their numbers until restarted"
    )


def _structure(mesh: Mesh) -> object:
    return listeners(mesh), {name: (one.service, one.beside, one.module) for name, one in mesh.services.items()}
