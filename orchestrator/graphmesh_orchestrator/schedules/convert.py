"""Conversion between messages and values of schedules."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp

from graphmesh_orchestrator.runs import convert as runs_convert
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.schedules.schedule import GRACE_SECONDS, CatchUp, Schedule, ScheduleStatus, Spec
from graphmesh_orchestrator.schedules.timing import MAX_WINDOW_TICKS, Timing, cron_violation, time_zones

MAX_RUN_BYTES = 256 * 1024
UPCOMING_TICKS = 5
OF_SCHEDULES = frozenset(
    (
        "graph",
        "assistant",
        "assistant_version",
        "input",
        "thread_id",
        "timeout",
        "recursion_limit",
        "labels",
        "multitask_strategy",
        "ceilings",
        "webhook_url",
        "context",
        "configurable",
        "interrupt_before",
        "interrupt_after",
        "stream_modes",
    )
)
"""The fields of CreateRunRequest that the run of a schedule may have."""

STATUSES = {status: pb.ScheduleStatus.Value(f"SCHEDULE_STATUS_{status.name}") for status in ScheduleStatus}
CATCH_UPS = {policy: pb.CatchUp.Value(f"CATCH_UP_{policy.name}") for policy in CatchUp}


def spec_of(message: pb.ScheduleSpec, now: datetime, min_interval: int) -> Spec:
    """Return a specification that is stored `now`, without its graph. Raises InvalidRequest, with every field."""
    if violations := list(_violations(message, min_interval)):
        raise _invalid(violations)
    timing = _timing(message, now)
    spec = Spec(
        run=message.run.SerializeToString(deterministic=True),
        graph=message.run.graph,
        thread_id=message.run.thread_id,
        timing=timing,
        catch_up=_catch_up(message.catch_up),
        window=message.catch_up_window.seconds or GRACE_SECONDS,
        labels=dict(message.labels),
    )
    if violations := list(_tick_violations(spec, now.timestamp())):
        raise _invalid(violations)
    return spec


def _violations(message: pb.ScheduleSpec, min_interval: int) -> Iterator[FieldViolation]:
    if bool(message.cron) == message.HasField("interval"):
        yield FieldViolation("spec.cron", "or interval is required, and not both")
    elif message.cron and (rule := cron_violation(message.cron)):
        yield FieldViolation("spec.cron", rule)
    if message.HasField("interval") and (message.interval.nanos or message.interval.seconds < min_interval):
        yield FieldViolation("spec.interval", f"has to be whole seconds, and at least {min_interval}")
    if message.time_zone and not message.cron:
        yield FieldViolation("spec.time_zone", "is of a cron expression, and there is none")
    elif message.time_zone and message.time_zone not in time_zones():
        yield FieldViolation("spec.time_zone", "is no name of the IANA time zone database")
    if message.HasField("catch_up_window") and message.catch_up != CATCH_UPS[CatchUp.ALL]:
        yield FieldViolation("spec.catch_up_window", "is of CATCH_UP_ALL alone")
    if message.catch_up == CATCH_UPS[CatchUp.ALL] and not message.HasField("catch_up_window"):
        yield FieldViolation("spec.catch_up_window", "is required with CATCH_UP_ALL")
    for field, _ in message.run.ListFields():
        if field.name not in OF_SCHEDULES:
            yield FieldViolation(f"spec.run.{field.name}", "cannot be the same for each run of a schedule")
    if (size := message.run.ByteSize()) > MAX_RUN_BYTES:
        yield FieldViolation("spec.run", f"has {size} bytes, it may have {MAX_RUN_BYTES}")


def _tick_violations(spec: Spec, now: float) -> Iterator[FieldViolation]:
    field = "spec.cron" if spec.timing.cron else "spec.interval"
    if spec.timing.after(now) is None:
        yield FieldViolation(field, "has no tick from now on within 50 years and before end_time")
    elif spec.catch_up is CatchUp.ALL and spec.timing.has_more_ticks(spec.window, now):
        yield FieldViolation("spec.catch_up_window", f"has more than {MAX_WINDOW_TICKS} ticks of the schedule")


def _timing(message: pb.ScheduleSpec, now: datetime) -> Timing:
    start = math.ceil(from_timestamp(message.start_time).timestamp()) if message.HasField("start_time") else 0
    if message.HasField("interval") and not message.HasField("start_time"):
        start = math.ceil(now.timestamp()) + message.interval.seconds
    return Timing(
        cron=message.cron,
        time_zone=message.time_zone,
        interval=message.interval.seconds,
        start=start,
        end=message.end_time.seconds if message.HasField("end_time") else 0,
    )


def _catch_up(number: int) -> CatchUp:
    return next((policy for policy, value in CATCH_UPS.items() if value == number), CatchUp.SKIP)


def new_schedule(request: pb.CreateScheduleRequest, spec: Spec, caller: Caller, now: datetime) -> Schedule:
    uid = uuid4().hex
    schedule_id, roles = request.schedule_id or f"sch_{uid}", runs_convert.role_names(caller)
    new = Schedule(caller.tenant, schedule_id, uid, caller.subject, spec, now, now, roles, caller.client)
    return new.paused() if request.paused else new.begun(now.timestamp())


def template_of(schedule: Schedule) -> pb.CreateRunRequest:
    """Return the request that each tick makes."""
    return pb.CreateRunRequest.FromString(schedule.spec.run)


def run_of_tick(schedule: Schedule, tick: int, now: datetime) -> Run:
    """Return the run of a tick: the same request for the same tick, whichever worker makes it. Raises as `run`."""
    roles = None if schedule.roles is None else frozenset(schedule.roles)
    caller = Caller(schedule.tenant, schedule.subject, None, roles, schedule.client)
    run = runs_convert.run(template_of(schedule), caller, now)
    return _of_schedule(run, schedule, f"{schedule.uid}.{tick}", due=float(tick))


def triggered_run(schedule: Schedule, request_id: str, caller: Caller, now: datetime) -> Run:
    """Return the run of a schedule that a caller triggers. Raises as `run`."""
    return _of_schedule(runs_convert.run(template_of(schedule), caller, now), schedule, request_id, due=0)


def _of_schedule(run: Run, schedule: Schedule, request_id: str, due: float) -> Run:
    """Return a run with what its schedule and its request give it. A repeat has the same fingerprint."""
    fingerprint = hashlib.sha256(f"{schedule.uid} {request_id}".encode()).digest()
    given = replace(run.request, request_id=request_id, fingerprint=fingerprint, due=due)
    return replace(run, request=replace(given, schedule_id=schedule.schedule_id))


def filter_columns(request: pb.ListSchedulesRequest) -> dict[str, str]:
    """Return the values of a filter by the names of columns."""
    status = next((str(status) for status, number in STATUSES.items() if number == request.status), "")
    columns = {"status": status, "graph": request.graph, "thread_id": request.thread_id}
    return {name: value for name, value in columns.items() if value}


def schedule_message(schedule: Schedule) -> pb.Schedule:
    progress = schedule.progress
    message = pb.Schedule(
        schedule_id=schedule.schedule_id,
        spec=_spec_message(schedule),
        status=STATUSES[schedule.status],
        next_tick_time=_moment(progress.next_tick),
        last_tick_time=_moment(progress.last_tick),
        last_run_id=progress.last_run_id,
        run_count=progress.run_count,
        failures=progress.failures,
        missed_time=_moment(progress.missed),
        create_time=to_timestamp(schedule.created),
        update_time=to_timestamp(schedule.updated),
    )
    if progress.last_error is not None:
        message.last_error.CopyFrom(status_pb2.Status.FromString(progress.last_error))
    return message


def with_upcoming(message: pb.Schedule, schedule: Schedule) -> pb.Schedule:
    """Add the next ticks to the message of a schedule."""
    if first := schedule.progress.next_tick:
        ticks = islice(schedule.spec.timing.ticks(first - 1), UPCOMING_TICKS)
        message.upcoming.extend(Timestamp(seconds=tick) for tick in ticks)
    return message


def _spec_message(schedule: Schedule) -> pb.ScheduleSpec:
    spec, timing = schedule.spec, schedule.spec.timing
    message = pb.ScheduleSpec(
        run=template_of(schedule),
        cron=timing.cron,
        time_zone=timing.time_zone,
        end_time=_moment(timing.end),
        catch_up=CATCH_UPS[spec.catch_up],
        labels=spec.labels,
    )
    if timing.interval:
        message.interval.seconds = timing.interval
    if timing.start or timing.interval:
        message.start_time.FromSeconds(timing.start)
    if spec.catch_up is CatchUp.ALL:
        message.catch_up_window.seconds = spec.window
    return message


def _moment(seconds: float) -> Timestamp | None:
    return to_timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def _invalid(violations: list[FieldViolation]) -> InvalidRequest:
    return InvalidRequest(violations=violations)
