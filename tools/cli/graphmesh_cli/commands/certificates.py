"""`graphmesh certificates`: issue the certificates of workloads, or make an authority for them."""

from pathlib import Path
from typing import Annotated

import typer
from graphmesh_local.certificates import AUTHORITY_KEY, add_authority, issue_certificates, open_authority, workloads
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from graphmesh_mesh.mutual_tls import AUTHORITIES, MutualTls
from graphmesh_mesh.sample import default_mesh_file
from graphmesh_mesh.topology import load

from graphmesh_cli.commands.output import AsJson, print_json_line
from graphmesh_cli.failures import Failure


def certificates(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of the certificates; default: that of the mesh, else that in the state folder."
        ),
    ] = None,
    mesh: Annotated[
        Path | None, typer.Option(help="The mesh with the workloads; default: deploy/mesh.yaml, else the sample's.")
    ] = None,
    environment: Annotated[str, typer.Option(help="The environment of the mesh file to apply.")] = "",
    new_authority: Annotated[
        bool, typer.Option("--new-authority", help="Only make another authority, which is trusted beside the present.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a new certificate for each workload of a mesh, from the authority in the folder; make one if there is none.

    A running mesh reads the files again: calls continue. To replace the authority, make a new one, issue certificates,
    and make a new one again when all programs have theirs: that removes the first one.
    """
    known = load(mesh or default_mesh_file(), environment)
    tls = known.mesh.tls or MutualTls()
    into = folder or tls.certificates or StateFolder(DEFAULT_STATE).certificates
    try:
        if new_authority:
            add_authority(into)
            written = [into / AUTHORITIES, into / AUTHORITY_KEY]
        else:
            open_authority(into)
            written = issue_certificates(into, tls.trust_domain, workloads(known))
    except (OSError, ValueError) as error:
        raise Failure(f"{into}: {error}") from None
    if as_json:
        return print_json_line({"files": [str(file) for file in written]})
    return typer.echo("\n".join(str(file) for file in written))
