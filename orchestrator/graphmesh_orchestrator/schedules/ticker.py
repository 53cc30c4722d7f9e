"""Creates the runs of ticks."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import structlog
from graphmesh_chassis.errors import (
    BudgetExceeded,
    DatabaseUnavailable,
    DependencyError,
    GraphmeshError,
    Internal,
    RateLimited,
    TokenLimit,
)
from graphmesh_chassis.status import to_status
from graphmesh_chassis.tenant_turns import work_for
from graphmesh_nodes.errors import StepLimit

from graphmesh_orchestrator.errors import QueueFull, ThreadBusy
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.schedules import convert
from graphmesh_orchestrator.schedules.schedule import Due, Schedule
from graphmesh_orchestrator.schedules.schedules import Claimed, Schedules, Tick

log = structlog.get_logger("graphmesh.schedules")

BATCH_TICKS = 128
"""Ticks that a worker claims at a time, and stores in one transaction: one of each schedule, so that tenants take
turns."""
MAX_CONCURRENT = 4
"""Ticks whose runs a worker checks, or stores one by one, at the same time."""


NO_FAILURES = (ThreadBusy, QueueFull, RateLimited, BudgetExceeded, StepLimit, TokenLimit)
"""The refusals of a tick that pass by themselves: they do not count as failures of its schedule."""


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
            await self._run_all(claimed)
            self._to_claim()

    async def _run_all(self, claimed: Claimed) -> None:
        """Store the runs of ticks in one transaction, and one by one those that need to be distinguished."""
        ticks = await asyncio.gather(*(self._tick(schedule, claimed.now) for schedule in claimed.schedules))
        left = await self._schedules.fire_all([tick for tick in ticks if tick])
        await asyncio.gather(*map(self._fire, left))

    async def _tick(self, schedule: Schedule, now: float) -> Tick | None:
        """Return the tick of a schedule; None where that is not possible now, and it is due again later."""
        work_for(schedule.tenant)
        async with self._places:
            try:
                return await self._checked(schedule, now)
            except DatabaseUnavailable as error:  # the schedule is due again when its claim expires
                log.warning("tick not run", schedule=schedule.schedule_id, reason=error.reason)
                return None

    async def _checked(self, schedule: Schedule, now: float) -> Tick:
        """Raises DatabaseUnavailable."""
        try:
            due = schedule.due(now)
        except Exception as error:  # a row of an earlier version of the rules, or of the time zones
            log.error("schedule without ticks", schedule=schedule.schedule_id, exc_info=error)
            return Tick(schedule, schedule.broken(to_status(Internal()).SerializeToString()))
        if due.tick is None:
            return Tick(schedule, schedule.left_out(due))
        try:
            run = convert.run_of_tick(schedule, due.tick, datetime.fromtimestamp(now, UTC))
            checked = await self._requests.accepted(run, convert.template_of(schedule).assistant)
            return Tick(schedule, schedule.ran(due, checked.run_id), checked, due)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # code of the graph, such as a validator of its state
            return Tick(schedule, _refused(schedule, due, error))

    async def _fire(self, tick: Tick) -> None:
        """Store the run of a tick by itself."""
        assert tick.run is not None
        assert tick.due is not None
        async with self._places:
            try:
                await self._schedules.fire(tick.read, tick.moved, tick.run)
            except DatabaseUnavailable as error:
                log.warning("tick not run", schedule=tick.read.schedule_id, reason=error.reason)
            except Exception as error:
                await self._schedules.move(tick.read, _refused(tick.read, tick.due, error))


def _refused(schedule: Schedule, due: Due, error: Exception) -> Schedule:
    """Return the schedule after a tick that could create no run."""
    if not isinstance(error, GraphmeshError):
        log.warning("tick failed", schedule=schedule.schedule_id, exc_info=error)
        error = Internal()
    log.warning("tick without a run", schedule=schedule.schedule_id, tick=due.tick, reason=error.reason)
    is_failure = not isinstance(error, NO_FAILURES)
    return schedule.refused(due, to_status(error).SerializeToString(), is_failure=is_failure)
