"""Runs that wait for their time or their turn: delayed ones, and those behind another run on their thread (B3, B5)."""

import contextlib
from collections.abc import Callable
from typing import cast

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError
from sqlalchemy.exc import IntegrityError

from graphmesh_orchestrator.db.clock import NOW, seconds_now
from graphmesh_orchestrator.db.tables import WAITING, runs
from graphmesh_orchestrator.notifications.poll_timer import Pace
from graphmesh_orchestrator.runs.runs_sql import preempt

log = structlog.get_logger("graphmesh.waiting")

ADMITTED_AT_ONCE = 500

READY = sa.and_(WAITING, runs.c.due <= seconds_now(), runs.c.cancel_reason == "")


class SqlWaiting:
    """The runs of all tenants that wait."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self) -> float | None:
        """Seconds until the time of the first run that waits, below 0 for one that waits for its turn; None where none
        waits."""
        first = sa.select(sa.func.min(runs.c.due) - NOW).where(WAITING)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def admit(self) -> int:
        """Give free threads to the runs whose turn it is; what has to make place for them is cancelled.

        Returns how many runs can be claimed now.
        """
        async with self._database.transaction() as connection:
            await preempt(connection, READY)
            turns = [row.run_id for row in await connection.execute(_TURNS)]
        return sum([await self._gives_thread(run_id) for run_id in turns])

    async def _gives_thread(self, run_id: str) -> bool:
        given = sa.update(runs).where(runs.c.run_id == run_id, WAITING).values(holds_thread=True, lease_expires=0)
        with contextlib.suppress(IntegrityError):  # somebody else has just got the thread
            async with self._database.transaction() as connection:
                return (await connection.execute(given.returning(runs.c.run_id))).first() is not None
        return False


def _turns() -> sa.Select[tuple[str]]:
    """The oldest ready run of each thread that no run has."""
    holder = runs.alias("holder")
    held = sa.exists().where(
        holder.c.tenant == runs.c.tenant, holder.c.thread_id == runs.c.thread_id, holder.c.holds_thread
    )
    place = sa.func.row_number().over(
        partition_by=[runs.c.tenant, runs.c.thread_id], order_by=[runs.c.created, runs.c.run_id]
    )
    ranked = sa.select(runs.c.run_id, runs.c.created, place.label("place")).where(READY, sa.not_(held)).subquery()
    first = sa.select(ranked.c.run_id).where(ranked.c.place == 1)
    return first.order_by(ranked.c.created).limit(ADMITTED_AT_ONCE)


_TURNS = _turns()


class Admitting:
    """Lets runs through when their time and their turn come."""

    def __init__(self, waiting: SqlWaiting, admitted: Callable[[], None], pace: Pace) -> None:
        """`admitted` is told that there are runs to claim."""
        self._waiting, self._admitted, self._pace = waiting, admitted, pace
        self._some = False

    def added(self, run_id: str = "") -> None:
        """A run waits, whichever it is: from now on it matters when others end."""
        self._some = True
        self._pace.soon()

    def look(self) -> None:
        """A thread may be free."""
        if self._some:
            self._pace.at_once()

    async def run(self) -> None:
        """For ever."""
        while True:
            due: float | None = 0.0
            try:
                due = await self._admit()
            except DependencyError as error:
                log.warning("no runs let through", reason=error.reason)
            await self._pace.next(due)

    async def _admit(self) -> float | None:
        """Let through whose turn it is. Returns as `next_due`."""
        self._some = False
        due = await self._waiting.next_due()
        self._some |= due is not None
        if due is not None and due <= 0 and await self._waiting.admit():
            self._admitted()
        return due
