"""`graphmesh prune`: delete history or threads that have not been used for a given time."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import PruneThreadsResponse
from graphmesh_client import Client
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token, parse_seconds
from graphmesh_cli.commands.output import AsJson, console, noted, print_json_line


def prune(
    unused_for: Annotated[
        float,
        typer.Option(
            parser=parse_seconds,
            metavar="TIME",
            help="Only threads not used for this time: 30d, 12h, 45m.",
        ),
    ],
    delete: Annotated[bool, typer.Option("--delete", help="Delete the threads themselves, with their runs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; only count.")] = False,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete the history of threads that have not been used for a given time; each keeps its newest state.

    Threads with an active or parked run are skipped.
    """
    connection = Connection(address, state, tenant, token)

    async def delete_or_count(client: Client) -> PruneThreadsResponse:
        async with noted("pruning: many threads take a while"):
            return await client.threads.prune(unused_for, delete=delete, dry_run=dry_run)

    deleted = connection.run(delete_or_count)
    if as_json:
        print_json_line(deleted)
    else:
        console().print(_summary(deleted, dry_run), soft_wrap=True)


def _summary(deleted: PruneThreadsResponse, dry_run: bool) -> str:
    verb = "would be deleted" if dry_run else "deleted"
    return f"{verb}: {deleted.checkpoints} checkpoints and {deleted.runs} runs of {deleted.threads} threads"
