"""Denies approvals that no approver has answered in time."""

from collections.abc import Callable

import structlog
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.telemetry.metrics import counter

from graphmesh_orchestrator.interrupts.approvals import Approvals
from graphmesh_orchestrator.notifications.poll_timer import PollTimer

log = structlog.get_logger("graphmesh.approvals")

EXPIRED = counter("graphmesh.approvals.expired", "{run}", "Runs with an approval that was not answered in time")
BATCH_RUNS = 100
"""Runs whose approvals one call expires."""


class ApprovalExpiry:
    """A background task that expires approvals. Several processes do it at a time without harm."""

    def __init__(self, approvals: Approvals, to_claim: Callable[[], None], timer: PollTimer) -> None:
        """
        Args:
            to_claim: called when runs resume with a denial.
            timer: notified of runs that park.
        """
        self._approvals, self._to_claim, self._timer = approvals, to_claim, timer

    async def run(self) -> None:
        """Expire approvals until cancelled."""
        while True:
            due: float | None = 0.0
            try:
                due = await self._expire()
            except DependencyError as error:
                log.warning("no approvals expired", reason=error.reason)
            await self._timer.wait(due)

    async def _expire(self) -> float | None:
        """Expire what is due. Returns the seconds until the next expiry, as `next_expiry`."""
        due = await self._approvals.next_expiry()
        if due is None or due > 0:
            return due
        while expired := await self._approvals.expire(BATCH_RUNS):
            EXPIRED.add(expired, {})
            self._to_claim()
        return 0.0
