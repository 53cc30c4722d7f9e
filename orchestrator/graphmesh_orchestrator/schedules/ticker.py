"""Creates the runs of ticks."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import structlog
from graphmesh_chassis.errors import DatabaseUnavailable, DependencyError, GraphmeshError, Internal
from graphmesh_chassis.large_values import CURRENT_TENANT
from graphmesh_chassis.status import to_status

from graphmesh_orchestrator.errors import QueueFull, ThreadBusy
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.schedules import convert
from graphmesh_orchestrator.schedules.schedule import Due, Schedule
from graphmesh_orchestrator.schedules.schedules import Schedules

log = structlog.get_logger("graphmesh.schedules")

BATCH_TICKS = 32
"""Ticks that a worker claims at a time: one of each schedule, so that tenants take turns."""
MAX_CONCURRENT = 4
"""Ticks whose runs a worker stores at the same time."""


class Ticker:
    """A background task that creates the runs of ticks. Workers share them: each tick has one run."""

    def __init__(
        self,
        schedules: Schedules,
        requests: RunRequests,
        graphs: Collection[str],
        to_claim: Callable[[], None],
        timer: PollTimer,
    ) -> None:
        """
        Args:
            graphs: the graphs that this process has.
            to_claim: called when there are runs to claim.
            timer: notified of schedules that change.
        """
        self._schedules, self._requests, self._graphs = schedules, requests, graphs
        self._to_claim, self._timer = to_claim, timer
        self._places = asyncio.Semaphore(MAX_CONCURRENT)

    async def run(self) -> None:
        """Create runs until cancelled."""
        while True:
            due: float | None = 0.0
            try:
                due = await self.poll()
            except DependencyError as error:
                log.warning("no ticks", reason=error.reason)
            await self._timer.wait(due)

    async def poll(self) -> float | None:
        """Create the runs of what is due. Returns the seconds until the next tick, as `Schedules.next_due`."""
        due = await self._schedules.next_due()
        if due is None or due > 0:
            return due
        while True:
            claimed = await self._schedules.claim(self._graphs, BATCH_TICKS)
            if not claimed.schedules:
                return await self._schedules.next_due()
            await asyncio.gather(*(self._tick(schedule, claimed.now) for schedule in claimed.schedules))
            self._to_claim()

    async def _tick(self, schedule: Schedule, now: float) -> None:
        CURRENT_TENANT.set(schedule.tenant)
        async with self._places:
            try:
                await self._fire(schedule, now)
            except DatabaseUnavailable as error:  # the schedule is due again when its claim expires
                log.warning("tick not run", schedule=schedule.schedule_id, reason=error.reason)

    async def _fire(self, schedule: Schedule, now: float) -> None:
        """Raises DatabaseUnavailable."""
        try:
            due = schedule.due(now)
        except Exception as error:  # a row of an earlier version of the rules, or of the time zones
            log.error("schedule without ticks", schedule=schedule.schedule_id, exc_info=error)
            await self._schedules.move(schedule, schedule.broken(to_status(Internal()).SerializeToString()))
            return
        if due.tick is None:
            await self._schedules.move(schedule, schedule.left_out(due))
            return
        try:
            run = convert.run_of_tick(schedule, due.tick, datetime.fromtimestamp(now, UTC))
            checked = await self._requests.checked(run, convert.template_of(schedule).assistant)
            await self._schedules.fire(schedule, schedule.ran(due, checked.run_id), checked)
        except DatabaseUnavailable:
            raise
        except GraphmeshError as error:
            await self._refuse(schedule, due, error)
        except Exception as error:  # code of the graph, such as a validator of its state
            log.warning("tick failed", schedule=schedule.schedule_id, exc_info=error)
            await self._refuse(schedule, due, Internal())

    async def _refuse(self, schedule: Schedule, due: Due, error: GraphmeshError) -> None:
        log.warning("tick without a run", schedule=schedule.schedule_id, tick=due.tick, reason=error.reason)
        is_failure = not isinstance(error, ThreadBusy | QueueFull)
        packed = to_status(error).SerializeToString()
        await self._schedules.move(schedule, schedule.refused(due, packed, is_failure=is_failure))
