"""`graphmesh prune`: delete history or threads that have not been used for a given time."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import PruneThreadsResponse
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, console, parse_seconds


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
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete the history of threads that have not been used for a given time; each keeps its newest state.

    Threads with an active or parked run are skipped.
    """
    connection = Connection(address, state, tenant)
    deleted = connection.run(lambda client: client.threads.prune(unused_for, delete=delete, dry_run=dry_run))
    console().print(_summary(deleted, dry_run))


def _summary(deleted: PruneThreadsResponse, dry_run: bool) -> str:
    verb = "would be deleted" if dry_run else "deleted"
    return f"{verb}: {deleted.checkpoints} checkpoints and {deleted.runs} runs of {deleted.threads} threads"
