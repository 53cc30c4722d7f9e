"""`graphmesh demo`, which `make run` runs: start a mesh, load the sample shop, show each agent at work."""

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

from graphmesh_cli.charts import Chart
from graphmesh_cli.commands.connection import mesh_target
from graphmesh_cli.commands.row_sources import jsonl
from graphmesh_cli.commands.run_view import RunView, open_questions, outcome
from graphmesh_cli.commands.sample_shop import SAMPLE, load_sample_shop

STATE = Path(".graphmesh/demo")
EXAMPLE = '{"customer_id": "cu_1017", "message": "How do I clean a nib?"}'


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep the mesh up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Start a mesh with sample data on free ports, and show each agent at work."""
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
    async with running_mesh(
        state=STATE, free_ports=True, receiver=True, on_change=partial(_show_ready, console)
    ) as mesh:
        async with mesh_target("", STATE).channel() as channel:
            console.print(Text(f"  a small shop: {await load_sample_shop(channel)}", style="dim"))
        succeeded = True
        async with Client(mesh.edge, token=mesh.token()) as client:
            for row in jsonl(SAMPLE / "requests.jsonl"):
                run = await _show_request(console, mesh, client, row.content)
                succeeded = succeeded and phase_of(run.status) is RunPhase.SUCCEEDED
        _print_next_steps(console, mesh, time.monotonic() - began)
        if stay:
            await asyncio.Event().wait()
    return succeeded


def _show_ready(console: Console, child: Child) -> None:
    if child.state is State.READY:
        console.print(Text.assemble("  ✓ ", (f"{child.program.name:<14}", "bold"), (child.program.address, "dim")))


async def _show_request(console: Console, mesh: RunningMesh, client: Client, request: dict[str, Any]) -> Run:
    """Send one request through the edge, answer its questions, show the events of its run, and return the run."""
    console.print()
    console.print(Rule(request["title"]))
    console.print(Padding(Text(request["input"]["message"], style="italic"), (0, 2)))
    run = await client.create_run(request["graph"], request["input"])
    person = request["input"].get("customer_id", "staff")
    console.print(Text(f"  {run.run_id} of {request['graph']} for {person}", style="dim"))
    view, seen = RunView(console), 0
    while True:
        async for event in client.stream_run(run.run_id, seen):
            view.show(event)
            seen = event.seq
        run = await client.get_run(run.run_id)
        if phase_of(run.status) is not RunPhase.PARKED:
            break
        await _answer(console, mesh, client, run, request)
    _show_output(console, run, view.text)
    return run


async def _answer(console: Console, mesh: RunningMesh, client: Client, run: Run, request: dict[str, Any]) -> None:
    """Answer what a run waits for, as the request states: a proposal by the person, an approval by another one."""
    interrupt = run.interrupts[0]
    question, *_ = open_questions(run, lambda *words: "")
    console.print(question, soft_wrap=True)
    if interrupt.approval_id:
        async with Client(mesh.edge, token=mesh.token(subject=request["approver"])) as approver:
            await approver.approvals.respond(interrupt.approval_id, approve=True)
        console.print(Text(f"  {'':<12}{request['approver']} approves", style="dim"))
    else:
        await client.resume_run(run.run_id, {interrupt.interrupt_id: request["says"]})
        console.print(Text(f"  {'':<12}“{request['says']}”", style="dim"))


def _show_output(console: Console, run: Run, streamed: str) -> None:
    output = struct_value(run.output)
    if (answer := str(output.pop("answer", ""))) != streamed:
        console.print(Padding(Text(answer, style="green"), (1, 4)))
    if chart := output.get("chart"):
        for line in Chart.of(chart).lines():
            console.print(Padding(line, (0, 4)))
        console.print()
    shown = ((key, value) for key, value in output.items() if value and isinstance(value, str | int | float))
    facts = ", ".join(f"{key} {value}" for key, value in shown if key != "query")
    console.print(Text.assemble("  ", outcome(run), (f"  {facts}", "dim")))


def _print_next_steps(console: Console, mesh: RunningMesh, seconds: float) -> None:
    console.print()
    console.print(Rule(f"Done in {seconds:.1f} s"))
    for topic, text in {
        "the model": "an offline composer that quotes the articles, no language model: services/model",
        "keep a mesh up": "make up ARGS=--sample",
        "send a request": f"graphmesh run support '{EXAMPLE}'",
        "draw a chart": "graphmesh chart RUN",
        "the agents": "orchestrator/graphs: support, operations, analyst, tool_agent",
        "measure one": "graphmesh eval support",
        "a tool service": "services/billing/graphmesh_billing/servicer.py",
        "its contract": "protos/graphmesh/billing/v1/billing.proto",
        "logs of this run": str(mesh.folder.logs.relative_to(Path.cwd())),
        "how it works": "ARCHITECTURE.md",
    }.items():
        console.print(Text.assemble((f"  {topic:<18}", "bold"), text), soft_wrap=True)
