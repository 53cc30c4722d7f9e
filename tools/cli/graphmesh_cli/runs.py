"""`graphmesh run`, `watch`, `runs`, `cancel`: runs through the edge of a mesh."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from rich.console import Console
from rich.table import Column, Table

from graphmesh_cli.show import RunView, outcome
from graphmesh_cli.state import DEFAULT_STATE, NoMesh, StateFolder

ResultT = TypeVar("ResultT")
Address = Annotated[str, typer.Option(help="host:port of the edge; that of the mesh that is up, by default.")]
State = Annotated[Path, typer.Option(help="The state folder of the mesh that is up.")]
Tenant = Annotated[str, typer.Option(help="For whom.")]
RunId = Annotated[str, typer.Argument(help="The id of the run.")]

console = Console()


def run(
    graph: Annotated[str, typer.Argument(help="The graph, by its name in langgraph.json.")],
    input: Annotated[str, typer.Argument(help="The input as a JSON object, or @FILE.")],
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = "default",
    thread: Annotated[str, typer.Option(help="The thread to go on with; a new one by default.")] = "",
    timeout: Annotated[float, typer.Option(help="How long the run may take, in seconds.")] = 600,
) -> None:
    """Begin a run and show what happens in it. Exits with 1 where it does not succeed."""
    value = _input(input)

    async def begin_and_watch(client: Client) -> Run:
        begun = await client.create_run(graph, value, thread_id=thread, timeout=timeout)
        console.print(f"{begun.run_id} on {begun.thread_id}", style="dim")
        return await _watched(client, begun.run_id, 0)

    _exit_by(with_client(begin_and_watch, address, state, tenant))


def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(help="The number of the last event that you have seen.")] = 0,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = "default",
) -> None:
    """Show what has happened in a run, and what happens, to its end. Exits with 1 where it did not succeed."""
    _exit_by(with_client(lambda client: _watched(client, run_id, after), address, state, tenant))


def runs(
    graph: Annotated[str, typer.Option(help="Only runs of this graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at the most.")] = 20,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = "default",
) -> None:
    """List the newest runs."""
    found = with_client(lambda client: client.list_runs(graph=graph, limit=limit), address, state, tenant)
    table = Table(Column("run", no_wrap=True, min_width=36), "graph", "begun", "how it went", box=None)
    for one in found:
        begun = one.create_time.ToDatetime().isoformat(sep=" ", timespec="seconds")
        table.add_row(one.run_id, one.graph, begun, outcome(one))
    console.print(table)


def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why; kept with the run.")] = "cancelled at the command line",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = "default",
) -> None:
    """End a run. What its tools have already done stays done."""

    async def cancel_and_wait(client: Client) -> Run:
        await client.cancel_run(run_id, reason)
        return await client.wait_run(run_id, timeout=30)

    console.print(outcome(with_client(cancel_and_wait, address, state, tenant)))


def with_client(use: Callable[[Client], Awaitable[ResultT]], address: str, state: Path, tenant: str) -> ResultT:
    """What `use` makes of a client of the mesh. An error of the mesh is said in one line and ends the command."""

    async def connected() -> ResultT:
        async with Client(address or _edge_of(state), tenant=tenant) as client:
            return await use(client)

    try:
        return asyncio.run(connected())
    except GraphmeshError as error:
        console.print(f"{error.reason}: {error}", style="red", markup=False)
        raise typer.Exit(1) from None


def _edge_of(state: Path) -> str:
    try:
        return StateFolder(state).read().edge
    except NoMesh as error:
        raise typer.BadParameter(f"{error}, or name one with --address") from None


async def _watched(client: Client, run_id: str, after_seq: int) -> Run:
    """Show a run's events to its end; the run as it is then."""
    view = RunView(console)
    async for event in client.stream_run(run_id, after_seq):
        view.show(event)
    return await client.get_run(run_id)


def _exit_by(ended: Run) -> None:
    console.print(outcome(ended))
    if ended.HasField("output"):
        console.print_json(json.dumps(struct_value(ended.output)))
    if ended.status != RunStatus.RUN_STATUS_SUCCESS:
        raise typer.Exit(1)


def _input(text: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"input: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("input: has to be a JSON object")
    return value
