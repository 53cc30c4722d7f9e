"""`graphmesh new-service`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.registration import UnexpectedLayout
from graphmesh_cli.new_service.scaffold import NotARepository, find_repository, scaffold


def new_service(
    name: Annotated[str, typer.Argument(help="The service: `orders` serves graphmesh.orders.v1.OrdersService.")],
    resource: Annotated[str, typer.Option(help="The resource it stores; by default the singular of its name.")] = "",
    port: Annotated[
        int, typer.Option(help="Its port in deploy/mesh.yaml; by default the next hundred.", min=0, max=65535)
    ] = 0,
) -> None:
    """Create a complete tool service: contract, package, migration, tests, and its entry in the mesh.

    The service stores one kind of resource, has the RPCs Create, Get, List and Cancel, and runs as it is. On an error
    no file is changed.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        names = Names.of(name, resource)
        written = scaffold(find_repository(Path.cwd()), names, port)
    except (InvalidName, NotARepository, UnexpectedLayout) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    for path in written:
        console.print(str(path), markup=False)
    console.print(f"\nNext: edit {written[0]}, then run `make protos`. CONTRIBUTING.md has all steps.", markup=False)
