"""`graphmesh render`: Envoy's configuration files, contracts of descriptor sets, roles, and pictures of graphs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_local.project_files import graph_names
from graphmesh_local.state_folder import ROLES_FILE
from graphmesh_mesh.contracts import contract_files
from graphmesh_mesh.envoy.folder import stale_files, write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import validate
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import load

from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import Failure

commands = typer.Typer(add_completion=False)


@commands.callback()
def render_group() -> None:
    """Render files from mesh.yaml and the protos."""


@commands.command("envoy")
def render_envoy(
    mesh: Annotated[Path, typer.Option(help="The mesh to render.")] = Path("deploy/mesh.yaml"),
    environment: Annotated[str, typer.Option(help="The environment of the mesh to apply.")] = "",
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("deploy/rendered/envoy"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Render Envoy's configuration and validate it with Envoy.

    An Envoy that runs in the folder reloads the changed files without a restart.
    """
    loaded = load(mesh, environment)
    if loaded.identity_is_open:
        raise MeshError("edge.identity: open is for test kits: every client could call the edge as any tenant")
    files = render(loaded)
    validate(files)
    _write("envoy", out, files, check, as_json)


@commands.command("contracts")
def render_contracts(
    out: Annotated[Path, typer.Argument(help="The folder to write to.")],
    mesh: Annotated[Path, typer.Option(help="The mesh whose services to render.")] = Path("deploy/mesh.yaml"),
    environment: Annotated[str, typer.Option(help="The environment of the mesh to apply.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the descriptor set of each service that has one, by the service's full name.

    Orchestrators and tests of graphs find them by GRAPHMESH_DESCRIPTOR_SETS=FOLDER. graphmesh up does this itself.
    """
    _write("contracts", out, contract_files(load(mesh, environment)), check, as_json)


@commands.command("roles")
def render_roles(
    out: Annotated[Path, typer.Argument(help="The folder to write to.")],
    mesh: Annotated[Path, typer.Option(help="The mesh whose roles to render.")] = Path("deploy/mesh.yaml"),
    environment: Annotated[str, typer.Option(help="The environment of the mesh to apply.")] = "",
    graphs: Annotated[Path, typer.Option(help="The langgraph.json with the graphs of roles.")] = Path("langgraph.json"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write roles.json, the graphs and tools of roles.

    Orchestrators read it by GRAPHMESH_ORCHESTRATOR_ROLES, and again when it changes. graphmesh up does this itself.
    """
    loaded = load(mesh, environment)
    if loaded.roles is None:
        raise Failure(f"{mesh} names no file of roles")
    if (names := graph_names(graphs)) is None:
        raise Failure(f"{graphs} has no graphs")
    try:
        loaded.roles.check_graphs(names)
    except ValueError as error:
        raise MeshError(str(error)) from error
    _write("roles", out, {ROLES_FILE: loaded.roles.rendered(loaded.contracts)}, check, as_json)


@commands.command("pictures")
def render_pictures(
    graphs: Annotated[Path, typer.Argument(help="The langgraph.json of the graphs.")] = Path("langgraph.json"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a picture is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw each graph in the README.md beside it, between <!-- graph --> and <!-- /graph -->.

    The pictures are in Mermaid, with the graphs inside of graphs.
    """
    from graphmesh_cli.graph_pictures import pictures  # with LangGraph, which the other commands do not import

    drawn = pictures(graphs)
    changed = {file: text for file, text in drawn.items() if file.read_text(encoding="utf-8") != text}
    names = [str(file) for file in changed]
    if check and names:
        raise Failure(f"not fresh: {', '.join(names)}; run graphmesh render pictures")
    for file, text in changed.items():
        file.write_text(text, encoding="utf-8")
    if as_json:
        return print_json_line({"changed": names, "pictures": len(drawn)})
    return console().print(f"{', '.join(names) or 'nothing'} changed, {len(drawn)} pictures", soft_wrap=True)


@commands.command("metrics")
def render_metrics(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the table is stale.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the table of metrics in docs/observability.md, from the instruments that the code declares."""
    from graphmesh_cli.metric_table import PAGE, instruments, page

    text = PAGE.read_text(encoding="utf-8")
    fresh = page(text)
    if check and fresh != text:
        raise Failure(f"{PAGE} is not fresh; run graphmesh render metrics")
    if fresh != text:
        PAGE.write_text(fresh, encoding="utf-8")
    if as_json:
        return print_json_line({"changed": fresh != text, "metrics": len(instruments())})
    return console().print(f"{PAGE}: {'changed' if fresh != text else 'fresh'}, {len(instruments())} metrics")


def _write(command: str, out: Path, files: Mapping[str, bytes], check: bool, as_json: bool) -> None:
    if check and (stale := stale_files(out, files)):
        raise Failure(f"{out} is not fresh: {', '.join(stale)}; run graphmesh render {command}")
    changed = [] if check else write(out, files)
    if as_json:
        return print_json_line({"folder": str(out), "changed": sorted(changed), "valid": len(files)})
    result = "fresh" if check else f"{', '.join(changed) or 'nothing'} changed"
    return console().print(f"{out}: {result}, {len(files)} files valid", soft_wrap=True)
