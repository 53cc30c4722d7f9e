"""`graphmesh schedules`: runs that begin again and again."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import CatchUp as CatchUpNumber
from graphmesh.orchestrator.v1 import CreateRunRequest, MultitaskStrategy, Run, Schedule, ScheduleStatus
from graphmesh_chassis.status import from_status
from graphmesh_client import Client, RunOptions, run_request
from graphmesh_client.schedules import Timing
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token, parse_seconds
from graphmesh_cli.commands.json_arguments import json_argument
from graphmesh_cli.commands.output import AsJson, console, print_json_line, show_list
from graphmesh_cli.commands.run_view import local_time
from graphmesh_cli.commands.runs import Multitask


class CatchUp(StrEnum):
    """See CatchUp in the contract."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The id, or the beginning of a generated one.")]
GraphName = Annotated[str, typer.Argument(help="The graph, by its name in langgraph.json; with --assistant, its name.")]
Input = Annotated[str, typer.Argument(help="The input of each run as a JSON object, or @FILE.")]
Cron = Annotated[str, typer.Option(help="Minute, hour, day of month, month, day of week: '0 9 * * 1-5'.")]
TimeZone = Annotated[str, typer.Option(help="The time zone of --cron, such as Europe/Berlin; UTC by default.")]
Every = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", show_default="", help="An interval: 10m, 2h, 1d.")
]
Moment = Annotated[datetime | None, typer.Option(help="A time of this machine's zone.")]
Late = Annotated[CatchUp, typer.Option(help="What becomes of ticks that no worker has seen in time.")]
Window = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", show_default="", help="How late, with --catch-up all.")
]
Thread = Annotated[str, typer.Option(help="The thread of all runs; a new one for each by default.")]
Strategy = Annotated[Multitask, typer.Option(help="The strategy where another run has the thread.")]
IsAssistant = Annotated[bool, typer.Option("--assistant", help="GRAPH is an assistant, which configures the runs.")]
Object = Annotated[str, typer.Option(help="A JSON object or @FILE, as of graphmesh run.")]

commands = typer.Typer(help="Manage runs that begin again and again.", no_args_is_help=True, add_completion=False)


@commands.command()
def create(
    graph: GraphName,
    input: Input = "",
    cron: Cron = "",
    time_zone: TimeZone = "",
    every: Every = 0,
    start: Moment = None,
    end: Moment = None,
    catch_up: Late = CatchUp.SKIP,
    window: Window = 0,
    thread: Thread = "",
    multitask: Strategy = Multitask.REJECT,
    assistant: IsAssistant = False,
    context: Object = "",
    configurable: Object = "",
    id: Annotated[str, typer.Option(help="The id; a new one by default.")] = "",
    paused: Annotated[bool, typer.Option("--paused", help="Create it paused.")] = False,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create a schedule, by --cron or --every."""
    make = _request_maker(graph, input, thread, multitask, assistant, context, configurable)
    timing = _timing(cron, time_zone, every, start, end, catch_up, window)

    async def call(client: Client) -> Schedule:
        return await client.schedules.create(await make(client), schedule_id=id, paused=paused, **timing)

    _show(Connection(address, state, tenant, token).run(call), as_json)


@commands.command()
def update(
    schedule: ScheduleId,
    graph: GraphName,
    input: Input = "",
    cron: Cron = "",
    time_zone: TimeZone = "",
    every: Every = 0,
    start: Moment = None,
    end: Moment = None,
    catch_up: Late = CatchUp.SKIP,
    window: Window = 0,
    thread: Thread = "",
    multitask: Strategy = Multitask.REJECT,
    assistant: IsAssistant = False,
    context: Object = "",
    configurable: Object = "",
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Replace what a schedule runs, and when: as create, whatever it was before."""
    make = _request_maker(graph, input, thread, multitask, assistant, context, configurable)
    timing = _timing(cron, time_zone, every, start, end, catch_up, window)

    async def call(client: Client) -> Schedule:
        schedule_id = await short_ids.schedule_id(client, schedule)
        return await client.schedules.update(schedule_id, await make(client), **timing)

    _show(Connection(address, state, tenant, token).run(call), as_json)


@commands.command("list")
def list_schedules(
    graph: Annotated[str, typer.Option(help="Only schedules of this graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List schedules, the newest first."""

    async def read(client: Client) -> list[Schedule]:
        return [one async for one in client.schedules.find(graph=graph, limit=limit)]

    show_list(
        Connection(address, state, tenant, token).run(read),
        {
            "schedule": lambda one: one.schedule_id,
            "runs": lambda one: one.spec.run.graph or one.spec.run.assistant,
            "ticks": _ticks,
            "next": lambda one: local_time(one.next_tick_time) if one.HasField("next_tick_time") else "",
            "status": _status,
        },
        ids=["schedule"],
        empty="no schedules",
        as_json=as_json,
    )


@commands.command()
def show(
    schedule: ScheduleId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a schedule, its last tick and its next ones."""
    found = _change(Connection(address, state, tenant, token), schedule, lambda client, id: client.schedules.get(id))
    _show(found, as_json)
    if as_json:
        return
    if found.HasField("last_tick_time"):
        last = f"last tick {local_time(found.last_tick_time)}, {found.run_count} runs, the last {found.last_run_id}"
        console().print(f"  {last}", soft_wrap=True)
    if found.HasField("last_error"):
        error = from_status(found.last_error)
        console().print(f"  no run: {error.reason}: {error}", style="red", soft_wrap=True)
    for tick in found.upcoming:
        console().print(f"  next {local_time(tick)}", style="dim")


@commands.command()
def pause(
    schedule: ScheduleId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Pause a schedule: it has no ticks until it is resumed."""
    connection = Connection(address, state, tenant, token)
    _show(_change(connection, schedule, lambda client, id: client.schedules.pause(id)), as_json)


@commands.command()
def resume(
    schedule: ScheduleId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Resume a paused or failed schedule with its first tick from now on."""
    connection = Connection(address, state, tenant, token)
    _show(_change(connection, schedule, lambda client, id: client.schedules.resume(id)), as_json)


@commands.command()
def trigger(
    schedule: ScheduleId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create a run of a schedule at once."""

    async def call(client: Client) -> Run:
        return await client.schedules.trigger(await short_ids.schedule_id(client, schedule))

    run = Connection(address, state, tenant, token).run(call)
    if as_json:
        print_json_line(run)
    else:
        console().print(f"{run.run_id} on {run.thread_id}", soft_wrap=True)


@commands.command()
def delete(
    schedule: ScheduleId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete a schedule. Its runs stay."""

    async def call(client: Client) -> str:
        schedule_id = await short_ids.schedule_id(client, schedule)
        await client.schedules.delete(schedule_id)
        return schedule_id

    deleted = Connection(address, state, tenant, token).run(call)
    if as_json:
        print_json_line({"deleted": {"schedule_id": deleted}})
    else:
        console().print(f"{deleted} is deleted", soft_wrap=True)


def _change(connection: Connection, schedule: str, call: Callable[[Client, str], Awaitable[Schedule]]) -> Schedule:
    """Make a call about the schedule that a short or whole id names."""

    async def on_schedule(client: Client) -> Schedule:
        return await call(client, await short_ids.schedule_id(client, schedule))

    return connection.run(on_schedule)


def _request_maker(
    graph: str,
    input: str,
    thread: str,
    multitask: Multitask,
    assistant: bool,
    context: str,
    configurable: str,
) -> Callable[[Client], Awaitable[CreateRunRequest]]:
    """Return what makes the request of each run, with whole ids. Raises typer.BadParameter."""
    value = json_argument(input, "INPUT")
    options = RunOptions(multitask_strategy=MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{multitask.name}"))
    if (given := json_argument(context, "--context")) is not None:
        options["context"] = given
    if (given := json_argument(configurable, "--configurable")) is not None:
        options["configurable"] = given

    async def make(client: Client) -> CreateRunRequest:
        if assistant:
            options["assistant"] = await short_ids.assistant_id(client, graph)
        thread_id = await short_ids.thread_id(client, thread)
        return run_request("" if assistant else graph, value, thread_id=thread_id, **options)

    return make


def _timing(
    cron: str,
    time_zone: str,
    every: float,
    start: datetime | None,
    end: datetime | None,
    catch_up: CatchUp,
    window: float,
) -> Timing:
    if bool(cron) == bool(every):
        raise typer.BadParameter("is required, or --every, and not both", param_hint="--cron")
    timing = Timing(cron=cron, time_zone=time_zone, catch_up=CatchUpNumber.Value(f"CATCH_UP_{catch_up.name}"))
    given: dict[str, Any] = {"interval": every, "catch_up_window": window, "start_time": start, "end_time": end}
    for name, value in given.items():
        if value:
            timing[name] = value.astimezone(UTC) if isinstance(value, datetime) else int(value)  # type: ignore[literal-required]
    return timing


def _show(schedule: Schedule, as_json: bool) -> None:
    if as_json:
        return print_json_line(schedule)
    following = f", next {local_time(schedule.next_tick_time)}" if schedule.HasField("next_tick_time") else ""
    line = f"{schedule.schedule_id} of {schedule.spec.run.graph or schedule.spec.run.assistant}: {_ticks(schedule)}"
    return console().print(f"{line}, {_status(schedule)}{following}", soft_wrap=True)


def _ticks(schedule: Schedule) -> str:
    spec = schedule.spec
    return f"{spec.cron} {spec.time_zone}".strip() if spec.cron else f"every {spec.interval.ToTimedelta()}"


def _status(schedule: Schedule) -> str:
    return ScheduleStatus.Name(schedule.status).removeprefix("SCHEDULE_STATUS_").lower()
