"""`graphmesh approve`: what waits for a person's consent, and the answer to it."""

import json
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Approval, ApprovalStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.text import Text

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Edge, State, Tenant, console
from graphmesh_cli.commands.run_view import local_time


def approve(
    approval_id: Annotated[str, typer.Argument(help="The approval; without one, list those that wait.")] = "",
    deny: Annotated[bool, typer.Option("--deny", help="Say no.")] = False,
    comment: Annotated[str, typer.Option(help="Why; kept with the approval and told to the graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many to list at the most.")] = 20,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Agree to one call of a tool, or deny it. Without an argument, show what waits for an answer, the oldest first."""
    edge = Edge(address, state, tenant)
    if not approval_id and (deny or comment):
        raise typer.BadParameter("name the approval that this is the answer to; without one, they are listed")
    if not approval_id:
        _list(edge, edge.do(lambda client: client.approvals.find(limit=limit)))
        return

    async def respond(client: Client) -> Approval:
        return await client.approvals.respond(approval_id, approve=not deny, comment=comment)

    answered = edge.do(respond)
    console.print(_line(answered), soft_wrap=True)
    console.print(f"  {edge.command('watch', answered.run_id)}", style="dim", soft_wrap=True)


def _list(edge: Edge, waiting: list[Approval]) -> None:
    if not waiting:
        console.print("nothing waits for an approval")
    for one in waiting:
        console.print(_line(one), soft_wrap=True)
        if one.question:
            console.print(Text(f"  {one.question}", style="bold"), soft_wrap=True)
        console.print_json(json.dumps(struct_value(one.arguments)), indent=None)
        needs = f", needs {', '.join(one.scopes)}" if one.scopes else ""
        console.print(
            f"  denied at {local_time(one.expire_time)} if nobody answers{needs}", style="dim", soft_wrap=True
        )
        console.print(f"  {edge.command('approve', one.approval_id)}", style="green", soft_wrap=True)
        console.print(f"  {edge.command('approve', one.approval_id, '--deny')}", style="red", soft_wrap=True)


def _line(approval: Approval) -> Text:
    status = ApprovalStatus.Name(approval.status).removeprefix("APPROVAL_STATUS_").lower()
    return Text.assemble(
        (approval.tool, "blue"),
        f"  {status}  ",
        (f"node {approval.node} of {approval.graph}, {approval.run_id}", "dim"),
    )
