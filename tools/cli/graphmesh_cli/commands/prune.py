"""`graphmesh prune`: takes away what nobody has used for long."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import PruneThreadsResponse
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Edge, State, Tenant, console, seconds


def prune(
    unused_for: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="TIME", help="Only threads that were last used so long ago: 30d, 12h, 45m."
        ),
    ],
    delete: Annotated[bool, typer.Option("--delete", help="The threads altogether, with their runs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much it would be.")] = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Take their history from the threads that nobody has used for long; each keeps its newest state.

    A thread that a run has, or that waits for an answer, is left as it is.
    """
    edge = Edge(address, state, tenant)
    removed = edge.do(lambda client: client.threads.prune(unused_for, delete=delete, dry_run=dry_run))
    console.print(_said(removed, dry_run))


def _said(removed: PruneThreadsResponse, dry_run: bool) -> str:
    does = "would go" if dry_run else "gone"
    return f"{does}: {removed.checkpoints} checkpoints and {removed.runs} runs of {removed.threads} threads"
