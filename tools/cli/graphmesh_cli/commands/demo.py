"""`graphmesh demo`, which `make run` runs: start a mesh, load the sample shop, send three support requests."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import Run
from graphmesh_client import Client
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_contracts import struct_value
from graphmesh_local.child_process import Child, ProcessError, State
from graphmesh_local.running_mesh import RunningMesh, running_mesh
from graphmesh_local.state_folder import StateFolder
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from graphmesh_cli.commands.connection import mesh_target
from graphmesh_cli.commands.row_sources import jsonl
from graphmesh_cli.commands.run_view import RunView, outcome
from graphmesh_cli.commands.sample_shop import SAMPLE, load_sample_shop

STATE = Path(".graphmesh/demo")
EXAMPLE = '{"customer_id": "cu_1017", "message": "How do I clean a nib?"}'


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep the mesh up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Start a mesh with sample data on free ports and send it three support requests."""
    console = Console()
    try:
        succeeded = asyncio.run(_demo(console, stay))
    except ProcessError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    if not succeeded:
        raise typer.Exit(1)


async def _demo(console: Console, stay: bool) -> bool:
    began = time.monotonic()
    StateFolder(STATE).delete()
    console.print(Rule("Starting Envoy, six tool services and the orchestrator"))
    async with running_mesh(state=STATE, free_ports=True, on_change=partial(_show_ready, console)) as mesh:
        async with mesh_target("", STATE).channel() as channel:
            console.print(Text(f"  a small shop: {await load_sample_shop(channel)}", style="dim"))
        succeeded = True
        async with Client(mesh.edge, token=mesh.token()) as client:
            for row in jsonl(SAMPLE / "requests.jsonl"):
                run = await _send_request(console, client, row.content)
                succeeded = succeeded and phase_of(run.status) is RunPhase.SUCCEEDED
        _print_next_steps(console, mesh, time.monotonic() - began)
        if stay:
            await asyncio.Event().wait()
    return succeeded


def _show_ready(console: Console, child: Child) -> None:
    if child.state is State.READY:
        console.print(Text.assemble("  ✓ ", (f"{child.program.name:<14}", "bold"), (child.program.address, "dim")))


async def _send_request(console: Console, client: Client, request: dict[str, Any]) -> Run:
    """Send one request through the edge, show the events of its run, and return the run."""
    console.print()
    console.print(Rule(request["title"]))
    console.print(Padding(Text(request["message"], style="italic"), (0, 2)))
    begun = await client.create_run("support", {"customer_id": request["customer_id"], "message": request["message"]})
    console.print(Text(f"  {begun.run_id} for {request['customer_id']}", style="dim"))
    view = RunView(console)
    async for event in client.stream_run(begun.run_id):
        view.show(event)
    ended = await client.get_run(begun.run_id)
    output = struct_value(ended.output)
    if (answer := str(output.pop("answer", ""))) != view.text:
        console.print(Padding(Text(answer, style="green"), (1, 4)))
    facts = ", ".join(f"{key} {value}" for key, value in output.items() if value not in (None, "", []))
    console.print(Text.assemble("  ", outcome(ended), (f"  {facts}", "dim")))
    return ended


def _print_next_steps(console: Console, mesh: RunningMesh, seconds: float) -> None:
    console.print()
    console.print(Rule(f"Done in {seconds:.1f} s"))
    for topic, text in {
        "the model": "an offline composer that quotes the articles, no language model: services/model",
        "keep a mesh up": "make up ARGS=--sample",
        "send a request": f"graphmesh run support '{EXAMPLE}'",
        "the agent": "orchestrator/graphs/support/graph.py",
        "a tool service": "services/billing/graphmesh_billing/servicer.py",
        "its contract": "protos/graphmesh/billing/v1/billing.proto",
        "logs of this run": str(mesh.folder.logs.relative_to(Path.cwd())),
        "how it works": "ARCHITECTURE.md",
    }.items():
        console.print(Text.assemble((f"  {topic:<18}", "bold"), text), soft_wrap=True)
