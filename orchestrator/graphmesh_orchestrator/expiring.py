"""Denying what nobody has answered in time (B8). Several processes at once do it without harm."""

import asyncio
from collections.abc import Callable

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.approvals_sql import SqlApprovals

log = structlog.get_logger("graphmesh.approvals")

EXPIRE_SECONDS = 0.5
"""Between two looks."""
EXPIRED_AT_ONCE = 100


class Expiring:
    """Expires approvals, for ever."""

    def __init__(self, approvals: SqlApprovals, to_claim: Callable[[], None]) -> None:
        """`to_claim` is told when runs go on with a denial."""
        self._approvals, self._to_claim = approvals, to_claim

    async def run(self) -> None:
        while True:
            try:
                while await self._approvals.expire(EXPIRED_AT_ONCE):
                    self._to_claim()
            except DependencyError as error:
                log.warning("no approvals expired", reason=error.reason)
            await asyncio.sleep(EXPIRE_SECONDS)
