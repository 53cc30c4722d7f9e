"""`graphmesh approve`: list pending approvals, approve one, or deny one."""

import json
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Approval, ApprovalStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.text import Text

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.commands.run_view import local_time


def approve(
    approval_id: Annotated[str, typer.Argument(help="The approval; without one, list the pending ones.")] = "",
    deny: Annotated[bool, typer.Option("--deny", help="Deny it.")] = False,
    comment: Annotated[str, typer.Option(help="The reason; stored with the approval and passed to the graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most approvals to list.")] = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Approve or deny one call of a tool. Without an argument, list the pending approvals, the oldest first."""
    connection = Connection(address, state, tenant, token)
    if not approval_id and (deny or comment):
        raise typer.BadParameter("name the approval to answer; without one, pending approvals are listed")
    if not approval_id:
        return _list(connection, connection.run(lambda client: client.approvals.find(limit=limit)), as_json)

    async def respond(client: Client) -> Approval:
        whole_id = await short_ids.approval_id(client, approval_id)
        return await client.approvals.respond(whole_id, approve=not deny, comment=comment)

    answered = connection.run(respond)
    if as_json:
        return print_json_line(answered)
    console().print(_line(answered), soft_wrap=True)
    return console().print(f"  {connection.command('watch', answered.run_id)}", style="dim", soft_wrap=True)


def _list(connection: Connection, pending: list[Approval], as_json: bool) -> None:
    if as_json:
        for one in pending:
            print_json_line(one)
        return
    if not pending:
        console().print("no approval is pending", style="dim")
    for one in pending:
        console().print(_line(one), soft_wrap=True)
        if one.question:
            console().print(Text(f"  {one.question}", style="bold"), soft_wrap=True)
        console().print_json(json.dumps(struct_value(one.arguments)), indent=None)
        other = f" of another approver than {one.requester}" if one.four_eyes else ""
        needs = f", needs {', '.join(one.scopes)}{other}" if one.scopes else ""
        console().print(
            f"  denied at {local_time(one.expire_time)} without an answer{needs}", style="dim", soft_wrap=True
        )
        console().print(f"  {connection.command('approve', one.approval_id)}", style="green", soft_wrap=True)
        console().print(f"  {connection.command('approve', one.approval_id, '--deny')}", style="red", soft_wrap=True)


def _line(approval: Approval) -> Text:
    status = ApprovalStatus.Name(approval.status).removeprefix("APPROVAL_STATUS_").lower()
    return Text.assemble(
        (approval.tool, "blue"),
        f"  {status}  ",
        (f"node {approval.node} of {approval.graph}, {approval.run_id}", "dim"),
    )
