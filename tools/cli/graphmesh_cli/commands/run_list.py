"""`graphmesh runs` and `cancel`: list and cancel runs."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_client import Client, NotFound
from graphmesh_client.run_status import RUN_STATUS_NAMES
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, noted, print_json_line, show_list
from graphmesh_cli.commands.run_view import local_time, outcome

Status = Annotated[str, typer.Option(help=f"Only runs of this status: {', '.join(RUN_STATUS_NAMES)}.")]


def runs(
    graph: Annotated[str, typer.Option(help="Only runs of this graph.")] = "",
    thread: Annotated[str, typer.Option(help="Only runs on this thread.")] = "",
    assistant: Annotated[str, typer.Option(help="Only runs of this assistant, by its id or its name.")] = "",
    schedule: Annotated[str, typer.Option(help="Only runs of this schedule.")] = "",
    status: Status = "",
    limit: Annotated[int, typer.Option(min=1, help="The most runs to list.")] = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest runs."""
    if status and status not in RUN_STATUS_NAMES:
        raise typer.BadParameter(f"is none of {', '.join(RUN_STATUS_NAMES)}", param_hint="--status")
    number = RUN_STATUS_NAMES.get(status, RunStatus.RUN_STATUS_UNSPECIFIED)

    async def find(client: Client) -> list[Run]:
        return await client.list_runs(
            graph=graph,
            thread_id=await short_ids.thread_id(client, thread),
            assistant_id=await _assistant_id(client, assistant),
            schedule_id=await short_ids.schedule_id(client, schedule),
            status=number,
            limit=limit,
        )

    show_list(
        Connection(address, state, tenant, token).run(find),
        {
            "run": lambda one: one.run_id,
            "graph": lambda one: one.graph,
            "begun": lambda one: local_time(one.create_time),
            "status": outcome,
        },
        ids=["run"],
        empty="no runs",
        as_json=as_json,
    )


async def _assistant_id(client: Client, given: str) -> str:
    """Return the id of the assistant that `given` names; a deleted one is named by its whole id."""
    if not given:
        return ""
    whole_id = await short_ids.assistant_id(client, given)
    try:
        return (await client.assistants.get(whole_id)).assistant_id
    except NotFound:
        return whole_id


def cancel(
    run_id: Annotated[str, typer.Argument(help="The run: its id, or the beginning of it.")],
    reason: Annotated[str, typer.Option(help="The reason; stored with the run.")] = "cancelled at the command line",
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Cancel a run. Effects that its tools have had are not undone."""

    async def cancel_and_wait(client: Client) -> Run:
        whole_id = await short_ids.run_id(client, run_id)
        await client.cancel_run(whole_id, reason)
        async with noted("waiting, at most 30 s, for the calls of the run to end"):
            return await client.wait_run(whole_id, timeout=30)

    ended = Connection(address, state, tenant, token).run(cancel_and_wait)
    if as_json:
        print_json_line(ended)
    else:
        console().print(outcome(ended))
