"""`graphmesh new-service`."""

from pathlib import Path
from typing import Annotated

import typer

from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import Failure, usage_error
from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.registration import UnexpectedLayout
from graphmesh_cli.new_service.scaffold import NotARepository, find_repository, scaffold


def new_service(
    name: Annotated[str, typer.Argument(help="The service: `orders` serves graphmesh.orders.v1.OrdersService.")],
    resource: Annotated[str, typer.Option(help="The resource it stores; by default the singular of its name.")] = "",
    port: Annotated[
        int, typer.Option(help="Its port in deploy/mesh.yaml; by default the next hundred.", min=0, max=65535)
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for a repository of its own, which needs packages only.")
    ] = None,
    team: Annotated[
        str, typer.Option(help="With --out: `acme` makes the contracts acme.orders.v1; by default orders.v1.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Create a complete tool service: contract, package, migration, tests, and its entry in the mesh.

    Without --out it becomes a part of the clone of graphmesh around the working directory. The service stores one kind
    of resource, has the RPCs Create, Get, List, Export (a stream) and Cancel, and runs as it is. On an error no file is
    changed.
    """
    try:
        if out is not None:
            return _new_repository(out, Names.of(name, resource, team), port, as_json)
        if team:
            raise InvalidName("a --team has a repository of its own: name its folder with --out")
        names = Names.of(name, resource)
        written = scaffold(find_repository(Path.cwd()), names, port)
    except (InvalidName, NotARepository, UnexpectedLayout) as error:
        raise usage_error(str(error)) from None
    if as_json:
        return print_json_line({"files": [str(path) for path in written]})
    for path in written:
        console().print(str(path), soft_wrap=True)
    return console().print(
        f"\nNext: edit {written[0]}, then run `make protos`. CONTRIBUTING.md has all steps.", soft_wrap=True
    )


def _new_repository(out: Path, names: Names, port: int, as_json: bool) -> None:
    """Write a repository. Raises InvalidName where a port is named, which belongs to a mesh."""
    from graphmesh_protos import ProtoError

    from graphmesh_cli.new_service.repository import write_repository

    if port:
        raise InvalidName("--port is for deploy/mesh.yaml; a repository of its own listens where its --listen states")
    try:
        written = write_repository(out, names)
    except ProtoError as error:
        raise Failure(str(error)) from None
    if as_json:
        return print_json_line({"files": [str(out / path) for path in written]})
    for path in written:
        console().print(str(out / path), soft_wrap=True)
    return console().print(f"\nNext: cd {out} && make test; README.md has all steps.", soft_wrap=True)
