"""Denying what nobody has answered in time (B8). Several processes at once do it without harm."""

from collections.abc import Callable

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.interrupts.approvals_sql import SqlApprovals
from graphmesh_orchestrator.notifications.poll_timer import Pace

log = structlog.get_logger("graphmesh.approvals")

EXPIRED_AT_ONCE = 100


class Expiring:
    """Expires approvals."""

    def __init__(self, approvals: SqlApprovals, to_claim: Callable[[], None], pace: Pace) -> None:
        """
        Args:
            to_claim: told when runs go on with a denial.
            pace: told of runs that park.
        """
        self._approvals, self._to_claim, self._pace = approvals, to_claim, pace

    async def run(self) -> None:
        """For ever."""
        while True:
            due: float | None = 0.0
            try:
                due = await self._look()
            except DependencyError as error:
                log.warning("no approvals expired", reason=error.reason)
            await self._pace.next(due)

    async def _look(self) -> float | None:
        """Expire what is due. Returns the seconds until something is, or may be; None where nothing ever is."""
        due = await self._approvals.next_expiry()
        if due is None or due > 0:
            return due
        while await self._approvals.expire(EXPIRED_AT_ONCE):
            self._to_claim()
        return 0.0
