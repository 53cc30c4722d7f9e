"""`graphmesh call-keys`: make or replace the keys that sign the calls of services."""

from pathlib import Path
from typing import Annotated

import typer
from graphmesh_local.call_keys import PRIVATE, PUBLIC, replace_call_key
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.output import AsJson, print_json_line
from graphmesh_cli.failures import Failure


def call_keys(
    folder: Annotated[Path, typer.Argument(help="The folder of the keys; default: the state folder.")] = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Make a new key that signs the calls of services, and keep the public key of the one before it.

    A running mesh reads both files again: calls continue, and those signed with the key before it are accepted until
    the next replacement.
    """
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder")
    try:
        replace_call_key(folder)
    except (OSError, ValueError, KeyError) as error:
        raise Failure(f"{folder}: {error}") from None
    private, public = str(folder / PRIVATE), str(folder / PUBLIC)
    if as_json:
        return print_json_line({"private": private, "public": public})
    typer.echo(f"{private}  of orchestrators: GRAPHMESH_ORCHESTRATOR_CALL_KEY")
    return typer.echo(f"{public}  of services: GRAPHMESH_<SERVICE>_CALL_KEYS")
