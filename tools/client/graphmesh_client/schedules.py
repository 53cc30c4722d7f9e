"""Schedules: runs that begin again and again."""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator.v1 import (
    CatchUp,
    CreateRunRequest,
    CreateScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    PauseScheduleRequest,
    ResumeScheduleRequest,
    Run,
    Schedule,
    ScheduleService,
    ScheduleSpec,
    ScheduleStatus,
    TriggerScheduleRequest,
    UpdateScheduleRequest,
)

from graphmesh_client.calls import NO_LIMIT, Calls, duration_of


class Timing(TypedDict, total=False):
    """When a schedule has ticks, either by `cron` or by `interval`; see ScheduleSpec."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    time_zone: str
    """The time zone of `cron`, as `Europe/Berlin`; UTC by default."""
    interval: int
    """Seconds."""
    start_time: datetime
    """No tick is earlier; it must have a time zone."""
    end_time: datetime
    """No tick is later; it must have a time zone."""
    catch_up: CatchUp.ValueType
    catch_up_window: int
    """Seconds; with CATCH_UP_ALL."""
    labels: Mapping[str, str]


class Schedules:
    """The schedules of the client's tenant."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self, run: CreateRunRequest, *, schedule_id: str = "", paused: bool = False, **timing: Unpack[Timing]
    ) -> Schedule:
        """Create a schedule of a run, which `run_request` makes.

        The call is made once: where its response is lost, pass an id of your own, and a repeat is refused.

        Raises:
            ValueError: a time has no time zone.
        """
        request = CreateScheduleRequest(schedule_id=schedule_id, spec=_spec(run, timing), paused=paused)
        return (await self._calls.call_once(ScheduleService.CreateSchedule, request)).schedule

    async def get(self, schedule_id: str) -> Schedule:
        """Return a schedule, with its next ticks. Raises NotFound."""
        request = GetScheduleRequest(schedule_id=schedule_id)
        return (await self._calls.call(ScheduleService.GetSchedule, request)).schedule

    def find(
        self,
        *,
        graph: str = "",
        thread_id: str = "",
        status: ScheduleStatus.ValueType = ScheduleStatus.SCHEDULE_STATUS_UNSPECIFIED,
        schedule_id_prefix: str = "",
        limit: int = NO_LIMIT,
    ) -> AsyncGenerator[Schedule, None]:
        """Yield schedules, the newest first; `schedule_id_prefix` is the beginning of a generated id."""
        request = ListSchedulesRequest(
            graph=graph, thread_id=thread_id, status=status, schedule_id_prefix=schedule_id_prefix
        )
        return self._calls.iterate(ScheduleService.ListSchedules, request, lambda page: page.schedules, limit)

    async def update(self, schedule_id: str, run: CreateRunRequest, **timing: Unpack[Timing]) -> Schedule:
        """Replace the run and the timing of a schedule. Raises as `create`."""
        request = UpdateScheduleRequest(schedule_id=schedule_id, spec=_spec(run, timing))
        return (await self._calls.call(ScheduleService.UpdateSchedule, request)).schedule

    async def pause(self, schedule_id: str) -> Schedule:
        request = PauseScheduleRequest(schedule_id=schedule_id)
        return (await self._calls.call(ScheduleService.PauseSchedule, request)).schedule

    async def resume(self, schedule_id: str) -> Schedule:
        """Resume a paused or failed schedule, with the first tick from now on."""
        request = ResumeScheduleRequest(schedule_id=schedule_id)
        return (await self._calls.call(ScheduleService.ResumeSchedule, request)).schedule

    async def trigger(self, schedule_id: str, *, request_id: str = "") -> Run:
        """Create a run of a schedule at once. A lost response does not lead to a second run."""
        request = TriggerScheduleRequest(schedule_id=schedule_id, request_id=request_id or uuid4().hex)
        return (await self._calls.call(ScheduleService.TriggerSchedule, request)).run

    async def delete(self, schedule_id: str) -> None:
        """Delete a schedule; its runs stay. Raises NotFound."""
        request = DeleteScheduleRequest(schedule_id=schedule_id)
        await self._calls.call_once(ScheduleService.DeleteSchedule, request)


def _spec(run: CreateRunRequest, timing: Timing) -> ScheduleSpec:
    fields: dict[str, Any] = dict(timing)
    for name in ("start_time", "end_time"):
        if name in fields:
            fields[name] = _timestamp(name, fields[name])
    for name in ("interval", "catch_up_window"):
        if name in fields:
            fields[name] = duration_of(fields[name])
    return ScheduleSpec(run=run, **fields)


def _timestamp(name: str, moment: datetime) -> Timestamp:
    if moment.tzinfo is None:
        raise ValueError(f"{name} must have a time zone: {moment}")
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
