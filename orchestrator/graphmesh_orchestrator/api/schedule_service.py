"""ScheduleService: decode, use case, encode."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import FieldViolation, InvalidInput, InvalidRequest, NotFound
from graphmesh_chassis.hooks import INLINE_BYTES
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.pages import PAGE_BYTES, Page, decode_position, page_size

from graphmesh_orchestrator.api.submission import Submission
from graphmesh_orchestrator.db.database_clock import Now
from graphmesh_orchestrator.errors import WrongGraph
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.runs.convert import role_names, run_message
from graphmesh_orchestrator.runs.convert import run as run_of_request
from graphmesh_orchestrator.schedules import convert
from graphmesh_orchestrator.schedules.schedule import Schedule, Spec
from graphmesh_orchestrator.schedules.schedules import Schedules
from graphmesh_orchestrator.threads.threads import Threads

BATCH_SCHEDULES = 8
"""Schedules that a listing reads at a time: each may have a quarter of a megabyte."""


class ScheduleServicer(pb.ScheduleServiceServicer):
    def __init__(
        self,
        schedules: Schedules,
        threads: Threads,
        requests: RunRequests,
        submission: Submission,
        changed: Callable[[], None],
        now: Now,
        min_interval: int,
        roles: RoleRules,
    ) -> None:
        """
        Args:
            changed: called when a schedule may have an earlier tick than the ones before.
            min_interval: the least seconds between two ticks of an interval.
        """
        self._schedules, self._threads, self._requests = schedules, threads, requests
        self._submission, self._changed, self._now = submission, changed, now
        self._min_interval, self._roles = min_interval, roles

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, context: Any) -> pb.CreateScheduleResponse:
        now = self._now()
        spec = await self._checked(request.spec, now)
        schedule = convert.new_schedule(request, spec, current_call().caller, now)
        await self._schedules.create(schedule)
        self._changed()
        return pb.CreateScheduleResponse(schedule=await _message_of(schedule))

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Any) -> pb.GetScheduleResponse:
        async with read_places("schedules"):
            schedule = await self._schedules.get(_tenant(), request.schedule_id)
            message = convert.with_upcoming(await _message_of(schedule), schedule)
            return pb.GetScheduleResponse(schedule=message)

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Any) -> pb.ListSchedulesResponse:
        page: Page[pb.Schedule] = Page(page_size(request.page_size), PAGE_BYTES)
        async with read_places("schedules"), aclosing(self._found(request)) as found:
            async for schedule in found:
                if not page.add(await _message_of(schedule), (schedule.created, schedule.schedule_id)):
                    break
        return pb.ListSchedulesResponse(schedules=page.messages, next_page_token=page.next_token)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, context: Any) -> pb.UpdateScheduleResponse:
        now = self._now()
        spec = await self._checked(request.spec, now)
        caller = current_call().caller
        own = spec, caller.subject, role_names(caller), caller.client, now.timestamp()
        changed = await self._change(request.schedule_id, lambda schedule: schedule.respecified(*own))
        return pb.UpdateScheduleResponse(schedule=changed)

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, context: Any) -> pb.PauseScheduleResponse:
        return pb.PauseScheduleResponse(schedule=await self._change(request.schedule_id, Schedule.paused))

    async def ResumeSchedule(self, request: pb.ResumeScheduleRequest, context: Any) -> pb.ResumeScheduleResponse:
        now, roles = self._now().timestamp(), role_names(current_call().caller)

        def resumed(schedule: Schedule) -> Schedule:
            self._roles.require_graph(roles, schedule.spec.graph)
            return schedule.resumed(now)

        return pb.ResumeScheduleResponse(schedule=await self._change(request.schedule_id, resumed))

    async def TriggerSchedule(self, request: pb.TriggerScheduleRequest, context: Any) -> pb.TriggerScheduleResponse:
        caller = current_call().caller
        schedule = await self._schedules.get(caller.tenant, request.schedule_id)
        run = convert.triggered_run(schedule, request.request_id, caller, self._now())
        run = await self._submission.create(run, convert.template_of(schedule).assistant)
        message = await convert_aside(is_large(run.request.input, run.state.output), run_message, run)
        return pb.TriggerScheduleResponse(run=message)

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, context: Any) -> pb.DeleteScheduleResponse:
        await self._schedules.delete(_tenant(), request.schedule_id)
        return pb.DeleteScheduleResponse()

    async def _checked(self, message: pb.ScheduleSpec, now: datetime) -> Spec:
        """Return the specification of a request, with its graph, after a run of it was checked.

        Raises:
            InvalidRequest: a field breaks a rule.
            WrongGraph: the thread belongs to another graph.
            GraphmeshError: as `RunRequests.checked`, with the paths of fields within the request.
        """
        spec, caller = convert.spec_of(message, now, self._min_interval), current_call().caller
        with _fields_of_run():
            run = await convert_aside(message.ByteSize() > INLINE_BYTES, run_of_request, message.run, caller, now)
            run = await self._requests.checked(run, message.run.assistant)
        with suppress(NotFound):
            thread = await self._threads.get(caller.tenant, run.identity.thread_id)
            if thread.graph not in ("", run.identity.graph):
                raise WrongGraph(thread=thread.thread_id, graph=thread.graph)
        return replace(spec, graph=run.identity.graph)

    async def _change(self, schedule_id: str, change: Callable[[Schedule], Schedule]) -> pb.Schedule:
        now = self._now()
        changed = await self._schedules.change(
            _tenant(), schedule_id, lambda schedule: replace(change(schedule), updated=now)
        )
        self._changed()
        return await _message_of(changed)

    async def _found(self, request: pb.ListSchedulesRequest) -> AsyncGenerator[Schedule]:
        before, columns = decode_position(request.page_token, datetime, str), convert.filter_columns(request)
        prefix = request.schedule_id_prefix
        while found := await self._schedules.find(_tenant(), columns, before, BATCH_SCHEDULES, prefix):
            for schedule in found:
                yield schedule
            before = (found[-1].created, found[-1].schedule_id)


@contextmanager
def _fields_of_run() -> Iterator[None]:
    """Put the fields of a run that is refused under the path that they have in a specification."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(violations=_within_spec(error.violations)) from error
    except InvalidInput as error:
        raise InvalidInput(violations=_within_spec(error.violations), graph=error.data.get("graph", "")) from error


def _within_spec(violations: Sequence[FieldViolation]) -> list[FieldViolation]:
    return [FieldViolation(f"spec.run.{one.field}", one.description) for one in violations]


async def _message_of(schedule: Schedule) -> pb.Schedule:
    return await convert_aside(len(schedule.spec.run) > INLINE_BYTES, convert.schedule_message, schedule)


def _tenant() -> str:
    return current_call().caller.tenant
