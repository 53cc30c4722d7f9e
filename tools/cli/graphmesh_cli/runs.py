"""`graphmesh run`: begin a run through the edge and watch it."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from rich.console import Console

from graphmesh_cli.show import RunView, outcome
from graphmesh_cli.state import DEFAULT_STATE, NoMesh, StateFolder


def run(
    graph: Annotated[str, typer.Argument(help="The graph, by its name in langgraph.json.")],
    input: Annotated[str, typer.Argument(help="The input as a JSON object, or @FILE.")],
    address: Annotated[str, typer.Option(help="host:port of the edge; that of the mesh that is up, by default.")] = "",
    state: Annotated[Path, typer.Option(help="The state folder of the mesh that is up.")] = DEFAULT_STATE,
    tenant: Annotated[str, typer.Option(help="For whom.")] = "default",
    thread: Annotated[str, typer.Option(help="The thread to go on with; a new one by default.")] = "",
    timeout: Annotated[float, typer.Option(help="How long the run may take, in seconds.")] = 600,
) -> None:
    """Begin a run and show what happens in it. Exits with 1 where it does not succeed."""
    value = _input(input)
    console = Console()
    try:
        succeeded = asyncio.run(_run(console, address or edge_of(state), tenant, graph, value, thread, timeout))
    except GraphmeshError as error:
        console.print(f"{error.reason}: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    if not succeeded:
        raise typer.Exit(1)


def edge_of(state: Path) -> str:
    """host:port of the edge of the mesh that runs from `state`."""
    try:
        return StateFolder(state).read().edge
    except NoMesh as error:
        raise typer.BadParameter(f"{error}, or name one with --address") from None


def _input(text: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"input: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("input: has to be a JSON object")
    return value


async def _run(
    console: Console, address: str, tenant: str, graph: str, value: dict[str, Any], thread: str, timeout: float
) -> bool:
    async with Client(address, tenant=tenant) as client:
        begun = await client.create_run(graph, value, thread_id=thread, timeout=timeout)
        console.print(f"{begun.run_id} on {begun.thread_id}", style="dim")
        view = RunView(console)
        async for event in client.stream_run(begun.run_id):
            view.show(event)
        ended = await client.get_run(begun.run_id)
    console.print(outcome(ended))
    if ended.HasField("output"):
        console.print_json(json.dumps(struct_value(ended.output)))
    return ended.status == RunStatus.RUN_STATUS_SUCCESS
