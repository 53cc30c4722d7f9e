"""`graphmesh new-service`."""

from pathlib import Path
from typing import Annotated

import typer

from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import usage_error
from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.registration import UnexpectedLayout
from graphmesh_cli.new_service.scaffold import NotARepository, find_repository, scaffold


def new_service(
    name: Annotated[str, typer.Argument(help="The service: `orders` serves graphmesh.orders.v1.OrdersService.")],
    resource: Annotated[str, typer.Option(help="The resource it stores; by default the singular of its name.")] = "",
    port: Annotated[
        int, typer.Option(help="Its port in deploy/mesh.yaml; by default the next hundred.", min=0, max=65535)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Create a complete tool service: contract, package, migration, tests, and its entry in the mesh.

    The service stores one kind of resource, has the RPCs Create, Get, List and Cancel, and runs as it is. On an error
    no file is changed.
    """
    try:
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
