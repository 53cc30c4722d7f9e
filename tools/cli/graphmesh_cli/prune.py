"""`graphmesh prune`: takes away what nobody has used for long."""

import re
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import PruneThreadsResponse

from graphmesh_cli.runs import Address, State, Tenant, console, with_client
from graphmesh_cli.state import DEFAULT_STATE

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TIME = re.compile(r"(\d{1,9})([smhd])")


def prune(
    unused_for: Annotated[str, typer.Option(help="Only threads that were last used so long ago: 30d, 12h, 45m, 90s.")],
    delete: Annotated[bool, typer.Option("--delete", help="The threads altogether, with their runs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much it would be.")] = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = "default",
) -> None:
    """Take their history from the threads that nobody has used for long; each keeps its newest state.

    A thread that a run has, or that waits for an answer, is left as it is.
    """
    seconds = _seconds(unused_for)
    removed = with_client(
        lambda client: client.threads.prune(seconds, delete=delete, dry_run=dry_run), address, state, tenant
    )
    console.print(_said(removed, dry_run))


def _seconds(text: str) -> int:
    match = TIME.fullmatch(text)
    if match is None:
        raise typer.BadParameter("--unused-for: has to be a number with s, m, h or d after it, such as 30d")
    return int(match[1]) * UNITS[match[2]]


def _said(removed: PruneThreadsResponse, dry_run: bool) -> str:
    does = "would go" if dry_run else "gone"
    return f"{does}: {removed.checkpoints} checkpoints and {removed.runs} runs of {removed.threads} threads"
