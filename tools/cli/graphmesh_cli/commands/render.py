"""`graphmesh render envoy`: render Envoy's configuration files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_mesh.envoy.folder import stale_files, write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import EnvoyRefusal, validate
from graphmesh_mesh.topology import MeshError, load

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
) -> None:
    """Render Envoy's configuration and validate it with Envoy.

    An Envoy that runs in the folder reloads the changed files without a restart.
    """
    try:
        files = render(load(mesh, environment))
        validate(files)
    except (MeshError, EnvoyRefusal) as error:
        raise _failure(str(error)) from error
    if check:
        _check(out, files)
    else:
        names = write(out, files)
        typer.echo(f"{out}: {', '.join(names) or 'nothing'} changed, {len(files)} files valid")


def _check(out: Path, files: Mapping[str, bytes]) -> None:
    if stale := stale_files(out, files):
        raise _failure(f"{out} is not fresh: {', '.join(stale)}; run `graphmesh render envoy`")
    typer.echo(f"{out}: fresh, {len(files)} files valid")


def _failure(reason: str) -> typer.Exit:
    """Print `reason` to stderr, and return the exit to raise."""
    typer.secho(reason, err=True, fg=typer.colors.RED)
    return typer.Exit(1)
