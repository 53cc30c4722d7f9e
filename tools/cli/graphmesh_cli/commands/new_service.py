"""The command: where the repository is, what is free there, and what to do next."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from graphmesh_cli.new_service.entries import Unlisted, in_lock, in_mesh, in_workspace, next_port
from graphmesh_cli.new_service.files import format_python, rendered
from graphmesh_cli.new_service.words import BadName, Words
from graphmesh_cli.new_service.writing import write_all

MESH, PYPROJECT, LOCK, LICENSE = (Path(name) for name in ("deploy/mesh.yaml", "pyproject.toml", "uv.lock", "LICENSE"))


class NotARepository(ValueError):
    """The command was run outside of a clone of graphmesh."""


def new_service(
    name: Annotated[str, typer.Argument(help="The service: `orders` serves graphmesh.orders.v1.OrdersService.")],
    resource: Annotated[str, typer.Option(help="What it keeps, one of it; the singular of the name.")] = "",
    port: Annotated[int, typer.Option(help="Its port in deploy/mesh.yaml; the next hundred.", min=0, max=65535)] = 0,
) -> None:
    """Make a complete tool service: contract, package, migration, tests, and its place in the mesh.

    It keeps one kind of resource, with Create, Get, List and Cancel, and works as it is. Nothing is written when
    something is wrong.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        words = Words.of(name, resource)
        root = repository(Path.cwd())
        written = scaffold(root, words, port)
    except (BadName, NotARepository, Unlisted) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    for path in written:
        console.print(str(path), markup=False)
    console.print(f"\nNext: write {written[0]}, then `make protos`. CONTRIBUTING.md has all five steps.", markup=False)


def repository(folder: Path) -> Path:
    """The clone of graphmesh around `folder`. Raises NotARepository."""
    for root in (folder, *folder.parents):
        if all((root / path).is_file() for path in (MESH, PYPROJECT, LOCK, LICENSE)):
            return root
    raise NotARepository(f"{folder} is in no clone of graphmesh: there is no {MESH} in it or above it")


def scaffold(root: Path, words: Words, port: int = 0) -> list[Path]:
    """Write the service into the clone at `root`. Returns what was written, the contract first.

    Raises:
        BadName: a name is taken, in the clone or in the code of the service itself; or the port is.
        Unlisted: the clone's lists of services are not as they are known to be.
    """
    mesh = (root / MESH).read_text()
    _check_free(root, words, mesh, port)
    files = {
        **rendered(words),
        Path("services", words.service) / LICENSE: (root / LICENSE).read_text(),
        MESH: in_mesh(mesh, words, port or next_port(mesh)),
        PYPROJECT: in_workspace((root / PYPROJECT).read_text(), words),
        LOCK: in_lock((root / LOCK).read_text(), words),
    }
    try:
        write_all(root, files, lambda staged: format_python(staged, root / PYPROJECT))
    except subprocess.CalledProcessError as error:
        raise NotARepository(f"ruff is needed to format the service, and failed: run `make env` ({error})") from error
    return list(files)


def _check_free(root: Path, words: Words, mesh: str, port: int) -> None:
    services = yaml.safe_load(mesh)["services"]
    if words.service in services or f'"{words.distribution}"' in (root / LOCK).read_text():
        raise BadName(f"there is a {words.service!r} already")
    for path in rendered(words):
        if (root / path).exists():
            raise BadName(f"{words.service!r} is taken: {path} exists")
    if (root / "protos/graphmesh" / words.service).exists():
        raise BadName(f"{words.service!r} is taken: the contracts have graphmesh.{words.service}")
    if owner := next((name for name, service in services.items() if service["port"] == port), ""):
        raise BadName(f"port {port} is taken by {owner!r}")
