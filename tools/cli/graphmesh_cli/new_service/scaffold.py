"""Adds a rendered service to a clone of graphmesh, or changes nothing."""

import subprocess
from pathlib import Path

import yaml

from graphmesh_cli.new_service.atomic_write import write_all
from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.registration import add_to_lock, add_to_mesh, add_to_workspace, next_port
from graphmesh_cli.new_service.rendering import format_python, render

MESH, PYPROJECT, LOCK, LICENSE = (Path(name) for name in ("deploy/mesh.yaml", "pyproject.toml", "uv.lock", "LICENSE"))


class NotARepository(ValueError):
    """The folder is not a clone of graphmesh, or one without its development tools."""


def find_repository(folder: Path) -> Path:
    """The root of the clone that contains `folder`. Raises NotARepository."""
    for root in (folder, *folder.parents):
        if all((root / path).is_file() for path in (MESH, PYPROJECT, LOCK, LICENSE)):
            return root
    raise NotARepository(f"{folder} is in no clone of graphmesh: neither it nor a folder above it has {MESH}")


def scaffold(root: Path, names: Names, port: int = 0) -> list[Path]:
    """Write the service into the clone at `root`; a `port` of 0 takes the next free one.

    Returns the paths of the files written, relative to `root`, the contract first.

    Raises:
        InvalidName: a name or the port is taken, in the clone or by the code of the service itself.
        UnexpectedLayout: a file that lists the services cannot be extended.
        NotARepository: ruff, which formats the service, is not installed or failed.
    """
    mesh = (root / MESH).read_text()
    _check_free(root, names, mesh, port)
    files = {
        **render(names),
        Path("services", names.service) / LICENSE: (root / LICENSE).read_text(),
        MESH: add_to_mesh(mesh, names, port or next_port(mesh)),
        PYPROJECT: add_to_workspace((root / PYPROJECT).read_text(), names),
        LOCK: add_to_lock((root / LOCK).read_text(), names),
    }
    try:
        write_all(root, files, lambda staged: format_python(staged, root / PYPROJECT))
    except subprocess.CalledProcessError as error:
        raise NotARepository(f"ruff is needed to format the service, and failed: run `make env` ({error})") from error
    return list(files)


def _check_free(root: Path, names: Names, mesh: str, port: int) -> None:
    services = yaml.safe_load(mesh)["services"]
    if names.service in services or f'"{names.distribution}"' in (root / LOCK).read_text():
        raise InvalidName(f"the service {names.service!r} exists already")
    for path in render(names):
        if (root / path).exists():
            raise InvalidName(f"{names.service!r} is taken: {path} exists")
    if (root / "protos/graphmesh" / names.service).exists():
        raise InvalidName(f"{names.service!r} is taken: the contracts have graphmesh.{names.service}")
    if owner := next((name for name, service in services.items() if service["port"] == port), ""):
        raise InvalidName(f"port {port} is taken by {owner!r}")
