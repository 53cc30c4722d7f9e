"""What waits in the database, as gauges: read at an interval, by queries of bounded cost, and never by a scrape."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.telemetry.metrics import Gauge, gauge

from graphmesh_orchestrator.db.tables import deliveries, interrupts, runs

log = structlog.get_logger("graphmesh.backlog")

INTERVAL_SECONDS = 5.0
MAX_ROWS = 10_000
"""The rows of each kind that are counted: more are this many."""

PENDING = gauge("graphmesh.runs.pending", "{run}", f"Runs that wait for their turn or a worker, up to {MAX_ROWS}")
OLDEST = gauge("graphmesh.runs.oldest_pending", "s", "The age of the oldest run that is due and waits")
APPROVALS = gauge("graphmesh.approvals.pending", "{approval}", f"Approvals that wait for an answer, up to {MAX_ROWS}")
OLDEST_APPROVAL = gauge("graphmesh.approvals.oldest_pending", "s", "The age of the oldest of them")
NEXT_EXPIRY = gauge("graphmesh.approvals.next_expiry", "s", "The time until the next of them is denied")
WEBHOOKS = gauge("graphmesh.webhooks.pending", "{delivery}", f"Webhook calls that are not delivered, up to {MAX_ROWS}")

WAITING = sa.text("status = 'pending' AND NOT holds_thread")
CLAIMABLE = sa.text("status IN ('pending', 'running') AND (holds_thread OR cancel_reason <> '') AND status = 'pending'")
"""As the partial indexes have it."""
APPROVALS_PENDING = sa.text("status = 'pending' AND expires > 0")


@dataclass(frozen=True)
class Backlog:
    """Counts, and ages in seconds."""

    pending: int = 0
    oldest: float = 0.0
    approvals: int = 0
    oldest_approval: float = 0.0
    next_expiry: float = 0.0
    webhooks: int = 0


class BacklogReader:
    """Reads the backlog as long as the server runs."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        """`now`: the time of the database's clock, in seconds since 1970."""
        self._database, self._now = database, now
        self.latest = Backlog()

    async def run(self) -> None:
        gauges: dict[Gauge, Callable[[Backlog], float]] = {
            PENDING: lambda one: one.pending,
            OLDEST: lambda one: one.oldest,
            APPROVALS: lambda one: one.approvals,
            OLDEST_APPROVAL: lambda one: one.oldest_approval,
            NEXT_EXPIRY: lambda one: one.next_expiry,
            WEBHOOKS: lambda one: one.webhooks,
        }
        ends = [one.observe(lambda value=value: [(value(self.latest), {})]) for one, value in gauges.items()]  # type: ignore[misc]
        try:
            while True:
                try:
                    self.latest = await self.read()
                except DependencyError as error:
                    log.warning("backlog not read", reason=error.reason)
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            for end in ends:
                end()

    async def read(self) -> Backlog:
        """Raises DatabaseUnavailable."""
        now = self._now()
        async with self._database.read() as connection:
            found: list[Any] = []
            for condition in (WAITING, CLAIMABLE):
                rows = sa.select(runs.c.created, runs.c.due).where(condition).limit(MAX_ROWS)
                found += (await connection.execute(rows)).all()
            waiting = [max(row.created.timestamp(), row.due) for row in found]
            columns = (interrupts.c.created, interrupts.c.expires)
            answerable = sa.select(*columns).where(APPROVALS_PENDING).limit(MAX_ROWS)
            approvals = (await connection.execute(answerable)).all()
            undelivered = sa.select(deliveries.c.delivery_id).where(sa.text("status = 'pending'")).limit(MAX_ROWS)
            webhooks = len((await connection.execute(undelivered)).all())
        return Backlog(
            pending=min(len(waiting), MAX_ROWS),
            oldest=max((now - since for since in waiting if since <= now), default=0.0),
            approvals=len(approvals),
            oldest_approval=max((now - row.created.timestamp() for row in approvals), default=0.0),
            next_expiry=max(min((row.expires - now for row in approvals), default=0.0), 0.0),
            webhooks=webhooks,
        )
