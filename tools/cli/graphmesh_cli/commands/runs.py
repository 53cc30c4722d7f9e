"""`graphmesh run`, `watch` and `resume`: begin a run, follow it, and answer its questions."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import Ceilings, MultitaskStrategy, Run, RunStatus, StreamRunRequest
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_client import Client, RunOptions
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.text import Text

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Address,
    Connection,
    State,
    Tenant,
    Token,
    max_value,
    parse_seconds,
)
from graphmesh_cli.commands.json_arguments import json_argument
from graphmesh_cli.commands.output import AsJson, console, fields_of, print_json_line, print_note, print_values
from graphmesh_cli.commands.run_view import JsonView, RunView, feedback_line, local_time, open_questions, outcome
from graphmesh_cli.commands.stream_modes import Modes, numbers_of
from graphmesh_cli.failures import ExitCode

RunId = Annotated[str, typer.Argument(help="The run: its id, or the beginning of it.")]

MAX_STEPS = max_value(Ceilings, "max_steps")
MAX_TOKENS = max_value(Ceilings, "max_tokens")
MAX_COST = max_value(Ceilings, "max_cost_micro_usd") // 10**6
MAX_EFFECTS = max_value(Ceilings, "max_effects")
MAX_SEQ = max_value(StreamRunRequest, "after_seq")
EXIT_CODES = {RunPhase.SUCCEEDED: ExitCode.SUCCESS, RunPhase.PARKED: ExitCode.PARKED}
"""The exit codes of `run`, `watch` and `resume`; 1 for every other phase."""
RECONNECT_SECONDS = 60.0
"""Seconds after its last event in which a run is watched again, while orchestrators are replaced."""
SILENT_SECONDS = 2.0
"""Seconds without an event after which `watch` shows what the run waits for."""


class Multitask(StrEnum):
    """See MultitaskStrategy in the contract."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


def run(
    graph: Annotated[
        str, typer.Argument(help="The graph, by its name in langgraph.json; with --assistant, an id or a name.")
    ],
    input: Annotated[
        str, typer.Argument(help="The input as a JSON object, or @FILE. Without one, --thread continues its state.")
    ] = "",
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
    thread: Annotated[str, typer.Option(help="The thread to continue; a new one by default.")] = "",
    checkpoint: Annotated[str, typer.Option(help="The checkpoint of the thread to begin from.")] = "",
    multitask: Annotated[Multitask, typer.Option(help="The strategy where another run has the thread.")] = (
        Multitask.REJECT
    ),
    after: Annotated[
        float,
        typer.Option(parser=parse_seconds, metavar="TIME", show_default="0s", help="Begin later: 90s, 10m, 2h, 1d."),
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option(parser=parse_seconds, metavar="TIME", show_default="10m", help="The time that the run may take."),
    ] = 600,
    max_steps: Annotated[int, typer.Option(min=0, max=MAX_STEPS, help="The most steps; 0: no limit.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=0, max=MAX_TOKENS, help="The most tokens of models; 0: no limit.")] = 0,
    max_cost: Annotated[
        float, typer.Option(min=0, max=MAX_COST, help="The most US dollars for models; 0: no limit.")
    ] = 0,
    max_effects: Annotated[int, typer.Option(min=0, max=MAX_EFFECTS, help="The most effects; 0: no limit.")] = 0,
    assistant: Annotated[
        bool, typer.Option("--assistant", help="GRAPH is an assistant, which configures the run.")
    ] = False,
    assistant_version: Annotated[
        int, typer.Option(min=0, metavar="N", help="The version of the assistant; by default its latest.")
    ] = 0,
    context: Annotated[str, typer.Option(help="The context of the graph's nodes, a JSON object or @FILE.")] = "",
    configurable: Annotated[str, typer.Option(help="Keys for the nodes' config, a JSON object or @FILE.")] = "",
    interrupt_before: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Park before this node; * for all nodes.")
    ] = None,
    interrupt_after: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Park after this node; * for all nodes.")
    ] = None,
    stream_mode: Modes = None,
    webhook: Annotated[str, typer.Option(help="The URL to notify when it ends.")] = "",
    request_id: Annotated[str, typer.Option(help="Your own id of this request; the same id gets the same run.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and do not watch it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a run and show its events.

    Exits with 0 if it succeeds, 3 if it waits for an answer, 1 if it fails. Ctrl-C leaves it running.
    """
    connection, value = Connection(address, state, tenant, token), json_argument(input, "INPUT")
    options = RunOptions(
        timeout=timeout,
        multitask_strategy=MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{multitask.name}"),
        ceilings=Ceilings(
            max_steps=max_steps,
            max_tokens=max_tokens,
            max_cost_micro_usd=round(max_cost * 1e6),
            max_effects=max_effects,
        ),
        webhook_url=webhook,
        assistant_version=assistant_version,
        interrupt_before=interrupt_before or [],
        interrupt_after=interrupt_after or [],
        stream_modes=numbers_of(stream_mode),
    )
    if (given := json_argument(context, "--context")) is not None:
        options["context"] = given
    if (given := json_argument(configurable, "--configurable")) is not None:
        options["configurable"] = given
    if after:
        options["schedule_time"] = datetime.now(UTC) + timedelta(seconds=after)

    own = () if assistant else ("--graph", graph)

    async def begin(client: Client) -> Run:
        if assistant:
            options["assistant"] = await short_ids.assistant_id(client, graph)
        thread_id = await short_ids.thread_id(client, thread)
        checkpoint_id = await short_ids.checkpoint_id(client, thread_id, checkpoint)
        try:
            begun = await client.create_run(
                "" if assistant else graph,
                value,
                thread_id=thread_id,
                checkpoint_id=checkpoint_id,
                request_id=request_id,
                **options,
            )
        except asyncio.CancelledError:
            print_note(f"the run may have begun: {connection.command('runs', *own)}")
            raise
        _show_begun(begun, as_json)
        return begun if detach else await _watch(connection, client, begun.run_id, 0, as_json)

    last = connection.run(begin)
    if not detach:
        _show_and_exit(connection, last, as_json)


def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, max=MAX_SEQ, help="The number of the last event that was shown.")] = 0,
    stream_mode: Modes = None,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the events of a run until it ends or waits for an answer.

    Reconnects where the connection breaks. Exits as `run` does. Ctrl-C leaves the run running.
    """
    watch_run(Connection(address, state, tenant, token), run_id, after, as_json, stream_mode)


def watch_run(connection: Connection, run_id: str, after_seq: int, as_json: bool = False, modes: Modes = None) -> None:
    """Show the events of a run after `after_seq`, of all its modes or of these.

    Raises:
        typer.Exit: with the exit code of the run's phase.
    """

    async def follow(client: Client) -> Run:
        whole_id = await short_ids.run_id(client, run_id)
        return await _watch(connection, client, whole_id, after_seq, as_json, modes)

    _show_and_exit(connection, connection.run(follow), as_json)


def resume(
    run_id: RunId,
    answer: Annotated[str, typer.Argument(help="The answer to the only open question: JSON, or text.")] = "",
    answers: Annotated[
        list[str] | None, typer.Option("--answer", metavar="ID=JSON", help="The answer to one of several questions.")
    ] = None,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Answer the questions of a parked run, and show its further events. Exits as `run` does."""
    connection = Connection(address, state, tenant, token)

    async def answer_and_watch(client: Client) -> Run:
        parked = await client.get_run(await short_ids.run_id(client, run_id))
        await client.resume_run(parked.run_id, _answers(parked, answer, answers or []))
        return await _watch(connection, client, parked.run_id, parked.last_seq, as_json)

    _show_and_exit(connection, connection.run(answer_and_watch), as_json)


async def _watch(
    connection: Connection, client: Client, run_id: str, after_seq: int, as_json: bool, modes: Modes = None
) -> Run:
    """Show a run's events until it ends or parks, and return the run.

    Where the user cancels or the connection is lost, the command that continues is shown.
    """
    view = JsonView() if as_json else RunView(console())
    waiting = asyncio.create_task(_note_wait(client, run_id), name="note on a silent run")
    first_seq, last_event = after_seq, time.monotonic()
    try:
        while True:
            try:
                async for event in client.stream_run(run_id, after_seq, stream_modes=numbers_of(modes)):
                    waiting.cancel()
                    view.show(event)
                    after_seq, last_event = event.seq, time.monotonic()
                return await client.get_run(run_id)
            except DependencyError:
                if after_seq == first_seq or time.monotonic() - last_event > RECONNECT_SECONDS:
                    raise
                view.end_text()
                print_note("the mesh does not respond; the run continues there, trying again")
    except (asyncio.CancelledError, DependencyError) as error:
        view.end_text()
        hint = "watch it again" if isinstance(error, DependencyError) else "the run continues; watch it again"
        command = connection.command("watch", run_id, *(["--after", str(after_seq)] if after_seq else []))
        print_note(f"{hint}: {command}")
        raise
    finally:
        waiting.cancel()


async def _note_wait(client: Client, run_id: str) -> None:
    """Show what a run that has no event yet waits for."""
    await asyncio.sleep(SILENT_SECONDS)
    try:
        run = await client.get_run(run_id)
    except GraphmeshError:  # the stream reports it
        return
    if run.status == RunStatus.RUN_STATUS_RUNNING:
        print_note("running; no node has ended yet")
    elif run.HasField("schedule_time") and run.schedule_time.ToDatetime(UTC) > datetime.now(UTC):
        print_note(f"pending: it begins at {local_time(run.schedule_time)}")
    elif run.status == RunStatus.RUN_STATUS_PENDING:
        print_note(f"pending: it waits for another run on {run.thread_id}, or for a free worker")


def _show_begun(begun: Run, as_json: bool) -> None:
    if as_json:
        return print_json_line({"run": fields_of(begun)})
    when = f", begins at {local_time(begun.schedule_time)}" if begun.HasField("schedule_time") else ""
    return console().print(f"{begun.run_id} on {begun.thread_id}{when}", style="dim", soft_wrap=True)


def _show_and_exit(connection: Connection, run: Run, as_json: bool) -> None:
    if as_json:
        print_json_line({"run": fields_of(run)})
    else:
        _show_end(connection, run)
    if code := EXIT_CODES.get(phase_of(run.status), ExitCode.FAILED):
        raise typer.Exit(code)


def _show_end(connection: Connection, run: Run) -> None:
    target = console()
    target.print(outcome(run))
    if run.HasField("output"):
        print_values(target, struct_value(run.output))
    for given in run.feedback:
        target.print(Text("feedback ", style="dim") + feedback_line(given), soft_wrap=True)
    for line in open_questions(run, connection.command):
        target.print(line, soft_wrap=True)


def _answers(parked: Run, answer: str, by_id: Sequence[str]) -> dict[str, Any]:
    """Return the answers by interrupt.

    An answer without an id is for the only question that needs no approval. If all need one, it is sent for the first,
    and the mesh refuses it with the approval to use.
    """
    if not parked.interrupts:
        raise typer.BadParameter(f"the run waits for no answer: {outcome(parked)}")
    if by_id:
        return {key: _json_or_text(value) for key, _, value in (one.partition("=") for one in by_id)}
    questions = [one.interrupt_id for one in parked.interrupts if not one.approval_id]
    if not answer or len(questions) > 1:
        raise typer.BadParameter(f"state an answer, or --answer ID=JSON for each of: {', '.join(questions)}")
    return {(questions or [parked.interrupts[0].interrupt_id])[0]: _json_or_text(answer)}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
