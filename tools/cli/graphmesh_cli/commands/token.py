"""`graphmesh token`: print a token of the development issuer, or revoke one."""

from typing import Annotated

import typer
from graphmesh_local.development_issuer import (
    MAX_SECONDS,
    SUBJECT_RULE,
    NoIssuer,
    developer_roles,
    issue_token,
    revoke_token,
    token_id,
    user_name,
)
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from graphmesh_mesh.errors import MeshError

from graphmesh_cli.commands.connection import DEFAULT_TENANT, State, Tenant, check_tenant, parse_seconds
from graphmesh_cli.commands.output import AsJson, print_json_line
from graphmesh_cli.failures import Failure, usage_error


def token(
    subject: Annotated[str, typer.Option(help="The caller; by default the user of this machine.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role, of the file with roles; repeat for more.")] = None,
    ttl: Annotated[float, typer.Option(parser=parse_seconds, metavar="TIME", help="1h, 10m, 90s.")] = 3600.0,
    revoke: Annotated[str, typer.Option(help="Refuse a token from now on: the token, or its claim jti.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Print a token for the edge of a mesh that graphmesh up runs.

    The default role is admin, or all roles where the file of roles has no admin. With --revoke it prints none, and a
    mesh that runs refuses that one within seconds. All users that can read the state folder can make one: it is for
    development on this machine.
    """
    if revoke:
        return _revoke(StateFolder(state), revoke, as_json=as_json)
    check_tenant(tenant)
    if not 1 <= ttl <= MAX_SECONDS:
        raise typer.BadParameter("must be a second at least and 30 days at most", param_hint="--ttl")
    if subject and not SUBJECT_RULE.fullmatch(subject):
        rule = "must be 1 to 255 printable characters of ASCII, without spaces"
        raise typer.BadParameter(rule, param_hint="--subject")
    folder = StateFolder(state)
    try:
        made = issue_token(folder, tenant, subject or user_name(), role or developer_roles(folder), ttl)
    except NoIssuer as error:
        raise Failure(str(error)) from None
    return print_json_line({"token": made, "jti": token_id(made)}) if as_json else typer.echo(made)


def _revoke(folder: StateFolder, given: str, *, as_json: bool) -> None:
    try:
        revoked = token_id(given) if given.count(".") == 2 else given
        revoke_token(folder, revoked)
    except (NoIssuer, MeshError) as error:
        raise Failure(str(error)) from None
    except ValueError as error:
        raise usage_error(f"--revoke: {error}") from None
    return print_json_line({"revoked": revoked}) if as_json else typer.echo(f"revoked: {revoked}")
