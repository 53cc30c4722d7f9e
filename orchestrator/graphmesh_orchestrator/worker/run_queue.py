"""Admits runs that wait: for their time, or for their turn on a thread."""

from collections.abc import Callable

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.runs.pending_runs import PendingRuns

log = structlog.get_logger("graphmesh.queue")


class RunQueue:
    """A background task that gives runs their thread when their time and their turn come."""

    def __init__(self, pending: PendingRuns, admitted: Callable[[], None], timer: PollTimer) -> None:
        """`admitted` is called when there are runs to claim."""
        self._pending, self._admitted, self._timer = pending, admitted, timer
        self._is_waited_for = False

    def added(self, run_id: str = "") -> None:
        """A run waits: from now on free threads matter."""
        self._is_waited_for = True
        self._timer.soon()

    def thread_freed(self) -> None:
        """A thread may be free: poll at once, if runs wait."""
        if self._is_waited_for:
            self._timer.now()

    async def run(self) -> None:
        """Admit runs until cancelled."""
        while True:
            due: float | None = 0.0
            try:
                due = await self._admit()
            except DependencyError as error:
                log.warning("no runs admitted", reason=error.reason)
            await self._timer.wait(due)

    async def _admit(self) -> float | None:
        """Admit the runs whose turn it is. Returns the seconds until the next is due, as `next_due`."""
        self._is_waited_for = False
        due = await self._pending.next_due()
        self._is_waited_for |= due is not None
        if due is not None and due <= 0 and await self._pending.admit():
            self._admitted()
        return due
