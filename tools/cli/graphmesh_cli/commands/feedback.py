"""`graphmesh feedback`: record what the caller thinks of a run."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Feedback
from graphmesh_client import Client
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.commands.run_view import feedback_line


def feedback(
    run_id: Annotated[str, typer.Argument(help="The run: its id, or the beginning of it.")],
    score: Annotated[float, typer.Option(min=0, max=1, help="From 0, of no use, to 1, just right.")],
    comment: Annotated[str, typer.Option(help="The reason, in your words.")] = "",
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Record what you think of a run, in place of what you have thought before."""

    async def record(client: Client) -> Feedback:
        return await client.record_feedback(await short_ids.run_id(client, run_id), score, comment)

    recorded = Connection(address, state, tenant, token).run(record)
    if as_json:
        return print_json_line(recorded)
    return console().print(feedback_line(recorded), soft_wrap=True)
