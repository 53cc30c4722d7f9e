"""`graphmesh render envoy`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_mesh.envoy.folder import changed, write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import EnvoyRefusal, validate
from graphmesh_mesh.topology import MeshError, load

commands = typer.Typer(add_completion=False)


@commands.callback()
def renderings() -> None:
    """Write what is made from mesh.yaml and the protos."""


@commands.command("envoy")
def render_command(
    mesh: Annotated[Path, typer.Option(help="The mesh to render.")] = Path("deploy/mesh.yaml"),
    environment: Annotated[str, typer.Option(help="The environment of it to lay over.")] = "",
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("deploy/rendered/envoy"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the folder is not fresh.")] = False,
) -> None:
    """Render Envoy's configuration and let Envoy validate it.

    An Envoy that runs in the folder takes the changes up at once, without a restart.
    """
    try:
        files = render(load(mesh, environment))
        validate(files)
    except (MeshError, EnvoyRefusal) as error:
        raise typer.Exit(_fail(str(error))) from error
    if check:
        _check(out, files)
    else:
        names = write(out, files)
        typer.echo(f"{out}: {', '.join(names) or 'nothing'} changed, {len(files)} files valid")


def _check(out: Path, files: Mapping[str, bytes]) -> None:
    if stale := changed(out, files):
        raise typer.Exit(_fail(f"{out} is not fresh: {', '.join(stale)}; run `graphmesh render envoy`"))
    typer.echo(f"{out}: fresh, {len(files)} files valid")


def _fail(reason: str) -> int:
    typer.secho(reason, err=True, fg=typer.colors.RED)
    return 1
