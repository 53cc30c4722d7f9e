"""`graphmesh run`, `watch`, `resume`, `runs`, `cancel`: runs through the edge of a mesh."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import Ceilings, MultitaskStrategy, Run, RunStatus, StreamRunRequest
from graphmesh_chassis.errors import DependencyError
from graphmesh_client import Client, RunOptions
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.table import Column, Table

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Edge, State, Tenant, console, largest, seconds
from graphmesh_cli.commands.run_view import RunView, local_time, outcome, open_questions

RunId = Annotated[str, typer.Argument(help="The id of the run.")]

MOST_STEPS = largest(Ceilings, "max_steps")
MOST_TOKENS = largest(Ceilings, "max_tokens")
MOST_COST = largest(Ceilings, "max_cost_micro_usd") // 10**6
LAST_EVENT = largest(StreamRunRequest, "after_seq")
PARKED = RunStatus.RUN_STATUS_INTERRUPTED
EXITS = {RunStatus.RUN_STATUS_SUCCESS: 0, PARKED: 3}
"""What `run`, `watch` and `resume` exit with; 1 for every other status."""


class Multitask(StrEnum):
    """See MultitaskStrategy in the contract."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


def run(
    graph: Annotated[str, typer.Argument(help="The graph, by its name in langgraph.json.")],
    input: Annotated[
        str, typer.Argument(help="The input as a JSON object, or @FILE. Without one, --thread goes on from its state.")
    ] = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
    thread: Annotated[str, typer.Option(help="The thread to go on with; a new one by default.")] = "",
    checkpoint: Annotated[str, typer.Option(help="The checkpoint of the thread to begin from.")] = "",
    multitask: Annotated[Multitask, typer.Option(help="What to do where another run has the thread.")] = (
        Multitask.REJECT
    ),
    after: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Begin later: 90s, 10m, 2h, 1d.")] = 0,
    timeout: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="How long the run may take.")] = 600,
    max_steps: Annotated[int, typer.Option(min=0, max=MOST_STEPS, help="End it after so many nodes; 0: no bound.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=0, max=MOST_TOKENS, help="End it after so many tokens of models.")] = 0,
    max_cost: Annotated[
        float, typer.Option(min=0, max=MOST_COST, help="End it when models have cost so many US dollars.")
    ] = 0,
    webhook: Annotated[str, typer.Option(help="Where to announce its end.")] = "",
    request_id: Annotated[
        str, typer.Option(help="Your own id of this request: the same again gets the same run.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and do not watch it.")] = False,
) -> None:
    """Begin a run and show what happens in it.

    Exits with 0 where it succeeds, 3 where it waits for an answer, 1 where it ends otherwise. Ctrl-C leaves it running.
    """
    edge, value = Edge(address, state, tenant), _input(input)
    options = RunOptions(
        timeout=timeout,
        multitask_strategy=MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{multitask.name}"),
        ceilings=Ceilings(max_steps=max_steps, max_tokens=max_tokens, max_cost_micro_usd=round(max_cost * 1e6)),
        webhook_url=webhook,
    )
    if after:
        options["schedule_time"] = datetime.now(UTC) + timedelta(seconds=after)

    async def begin(client: Client) -> Run:
        try:
            begun = await client.create_run(
                graph, value, thread_id=thread, checkpoint_id=checkpoint, request_id=request_id, **options
            )
        except asyncio.CancelledError:
            _say(f"it may have begun: {edge.command('runs', '--graph', graph)}")
            raise
        when = f", begins at {local_time(begun.schedule_time)}" if begun.HasField("schedule_time") else ""
        console.print(f"{begun.run_id} on {begun.thread_id}{when}", style="dim", soft_wrap=True)
        return begun if detach else await _watched(edge, client, begun.run_id, 0)

    ended = edge.do(begin)
    if not detach:
        _exit_by(edge, ended)


def watch(
    run_id: RunId,
    after: Annotated[
        int, typer.Option(min=0, max=LAST_EVENT, help="The number of the last event that you have seen.")
    ] = 0,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show what has happened in a run, and what happens, until it ends or waits for an answer.

    Goes on where the connection breaks. Exits as `run` does. Ctrl-C leaves the run as it is.
    """
    edge = Edge(address, state, tenant)
    _exit_by(edge, edge.do(lambda client: _watched(edge, client, run_id, after)))


def resume(
    run_id: RunId,
    answer: Annotated[str, typer.Argument(help="The answer, where one question is open: JSON, or text as it is.")] = "",
    answers: Annotated[
        list[str] | None, typer.Option("--answer", metavar="ID=JSON", help="The answer to one of several questions.")
    ] = None,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Answer what a run waits for, and show how it goes on. Exits as `run` does."""
    edge = Edge(address, state, tenant)

    async def answer_and_watch(client: Client) -> Run:
        parked = await client.get_run(run_id)
        await client.resume_run(run_id, _answers(parked, answer, answers or []))
        return await _watched(edge, client, run_id, parked.last_seq)

    _exit_by(edge, edge.do(answer_and_watch))


def runs(
    graph: Annotated[str, typer.Option(help="Only runs of this graph.")] = "",
    thread: Annotated[str, typer.Option(help="Only runs on this thread.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at the most.")] = 20,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest runs."""
    edge = Edge(address, state, tenant)
    found = edge.do(lambda client: client.list_runs(graph=graph, thread_id=thread, limit=limit))
    table = Table(Column("run", no_wrap=True, min_width=36), "graph", "begun", "how it went", box=None)
    for one in found:
        table.add_row(one.run_id, one.graph, local_time(one.create_time), outcome(one))
    console.print(table)


def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why; kept with the run.")] = "cancelled at the command line",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """End a run. What its tools have already done stays done."""

    async def cancel_and_wait(client: Client) -> Run:
        await client.cancel_run(run_id, reason)
        return await client.wait_run(run_id, timeout=30)

    console.print(outcome(Edge(address, state, tenant).do(cancel_and_wait)))


async def _watched(edge: Edge, client: Client, run_id: str, after_seq: int) -> Run:
    """Show a run's events until it ends or parks; the run as it is then. Who stops looking is told how to go on."""
    view = RunView(console)
    try:
        async for event in client.stream_run(run_id, after_seq):
            view.show(event)
            after_seq = event.seq
        return await client.get_run(run_id)
    except (asyncio.CancelledError, DependencyError) as error:
        view.end_text()
        what = "look again" if isinstance(error, DependencyError) else "the run goes on without you"
        again = edge.command("watch", run_id, *(["--after", str(after_seq)] if after_seq else []))
        _say(f"{what}: {again}")
        raise


def _say(hint: str) -> None:
    console.print(hint, style="dim", markup=False, soft_wrap=True)


def _exit_by(edge: Edge, stopped: Run) -> None:
    console.print(outcome(stopped))
    if stopped.HasField("output"):
        console.print_json(json.dumps(struct_value(stopped.output)))
    for line in open_questions(stopped, edge.command):
        console.print(line, soft_wrap=True)
    if code := EXITS.get(stopped.status, 1):
        raise typer.Exit(code)


def _answers(parked: Run, answer: str, by_id: Sequence[str]) -> dict[str, Any]:
    """The answers by question. One without an id is to the only question that no approval answers; where there is
    none, the mesh says which approval does."""
    if not parked.interrupts:
        raise typer.BadParameter(f"the run waits for no answer: {outcome(parked)}")
    if by_id:
        return {key: _json_or_text(value) for key, _, value in (one.partition("=") for one in by_id)}
    asked = [one.interrupt_id for one in parked.interrupts if not one.approval_id]
    if not answer or len(asked) > 1:
        raise typer.BadParameter(f"state an answer, or --answer ID=JSON for each of: {', '.join(asked)}")
    return {(asked or [parked.interrupts[0].interrupt_id])[0]: _json_or_text(answer)}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _input(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"input: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("input: has to be a JSON object")
    return value
