"""`graphmesh token`: print a token of the development issuer."""

import getpass
from typing import Annotated

import typer
from graphmesh_local.development_issuer import NoIssuer, issue_token
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder

from graphmesh_cli.commands.connection import DEFAULT_TENANT, State, Tenant, check_tenant, parse_seconds
from graphmesh_cli.commands.output import AsJson, print_json_line
from graphmesh_cli.failures import Failure


def token(
    subject: Annotated[str, typer.Option(help="The caller; by default the user of this machine.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role, of the file with roles; repeat for more.")] = None,
    ttl: Annotated[float, typer.Option(parser=parse_seconds, metavar="TIME", help="1h, 10m, 90s.")] = 3600.0,
    tenant: Tenant = DEFAULT_TENANT,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Print a token for the edge of a mesh that graphmesh up --tokens runs. The default role is admin.

    All users that can read the state folder can make one: it is for development on this machine.
    """
    check_tenant(tenant)
    if ttl < 1:
        raise typer.BadParameter("must be a second at least", param_hint="--ttl")
    try:
        made = issue_token(StateFolder(state), tenant, subject or getpass.getuser(), role or ["admin"], ttl)
    except NoIssuer as error:
        raise Failure(str(error)) from None
    return print_json_line({"token": made}) if as_json else typer.echo(made)
