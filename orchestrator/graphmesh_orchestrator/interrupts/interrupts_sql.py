"""What parked runs ask, and the answers, in SQL (B8). A parked run is these rows and its own, and nothing else."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime
from graphmesh_chassis.errors import ApprovalRequired, NotFound
from graphmesh_nodes.approval_terms import is_marked
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.tables import metadata, runs
from graphmesh_orchestrator.errors import InterruptAnswered, RunNotInterrupted
from graphmesh_orchestrator.runs.run import Interrupt, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import run_of

PENDING, ANSWERED = "pending", "answered"

interrupts = sa.Table(
    "interrupts",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("interrupt_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("answer", sa.JSON(none_as_null=True)),
    sa.Column("answered", UtcDateTime),
    sa.Column("answered_by", sa.String(255), nullable=False),
    sa.Column("approval_id", sa.String(64)),
    sa.Column("approval", sa.JSON(none_as_null=True)),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
)
"""`answer` is `{"value": …}`. What is asked for in an approval is in `approval`; `expires` is in seconds since 1970, 0
for never."""
sa.Index("interrupts_by_approval", interrupts.c.approval_id, unique=True)
sa.Index(
    "interrupts_expiring",
    interrupts.c.expires,
    sqlite_where=sa.text("status = 'pending' AND expires > 0"),
    postgresql_where=sa.text("status = 'pending' AND expires > 0"),
)
sa.Index("interrupts_by_tenant", interrupts.c.tenant, interrupts.c.created, interrupts.c.approval_id)


class SqlInterrupts:
    """The questions of the runs of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, run_ids: Sequence[str]) -> dict[str, list[Interrupt]]:
        """What is not answered, by run."""
        query = sa.select(interrupts).where(interrupts.c.run_id.in_(run_ids), interrupts.c.status == PENDING)
        found: dict[str, list[Interrupt]] = {run_id: [] for run_id in run_ids}
        async with self._database.read() as connection:
            for row in await connection.execute(query.order_by(interrupts.c.created, interrupts.c.interrupt_id)):
                found[row.run_id].append(interrupt_of(row))
        return found

    async def of_thread(self, tenant: str, thread_id: str) -> dict[str, Interrupt]:
        """What the run that has a thread waits for, by interrupt."""
        has_thread = (runs.c.tenant == tenant, runs.c.thread_id == thread_id, runs.c.holds_thread)
        query = sa.select(interrupts).join(runs, runs.c.run_id == interrupts.c.run_id)
        async with self._database.read() as connection:
            rows = await connection.execute(query.where(*has_thread, interrupts.c.status == PENDING))
            return {row.interrupt_id: interrupt_of(row) for row in rows}

    async def answers(self, run_id: str) -> dict[str, Any]:
        """The answers of a run, by interrupt."""
        query = sa.select(interrupts.c.interrupt_id, interrupts.c.answer)
        async with self._database.read() as connection:
            rows = await connection.execute(
                query.where(interrupts.c.run_id == run_id, interrupts.c.answer.is_not(None))
            )
            return {row.interrupt_id: row.answer["value"] for row in rows}

    async def answer(self, tenant: str, run_id: str, answers: Mapping[str, Any], by: str) -> Run:
        """Answer interrupts of a parked run; with the last one it goes on. The same answers again change nothing.

        Raises:
            NotFound: no such run, or no such interrupt of it.
            RunNotInterrupted: it is not parked.
            InterruptAnswered: one was answered otherwise.
            ApprovalRequired: one is an approval, or is answered as if it were; those are answered elsewhere.
        """
        async with self._database.transaction() as connection:
            run = await locked_run(connection, tenant, run_id)
            rows = await self._asked(connection, run_id, answers)
            fresh = {row.interrupt_id for row in rows if not _answered(row, answers[row.interrupt_id])}
            if fresh and run.status is not RunStatus.INTERRUPTED:
                raise RunNotInterrupted(run=run_id, status=run.status)
            for interrupt_id in fresh:
                await settle(connection, run_id, interrupt_id, ANSWERED, answers[interrupt_id], by)
            return await go_on(connection, run) if fresh else run

    async def _asked(
        self, connection: AsyncConnection, run_id: str, answers: Mapping[str, Any]
    ) -> Sequence[sa.Row[Any]]:
        if any(is_marked(value) for value in answers.values()):
            raise ApprovalRequired(run=run_id)
        query = sa.select(interrupts).where(interrupts.c.run_id == run_id, interrupts.c.interrupt_id.in_(answers))
        rows = (await connection.execute(query)).all()
        if missing := answers.keys() - {row.interrupt_id for row in rows}:
            raise NotFound(resource="interrupt", id=min(missing))
        if approval := next((row.approval_id for row in rows if row.approval_id), None):
            raise ApprovalRequired(approval=approval)
        return rows


def _answered(row: sa.Row[Any], value: Any) -> bool:
    """Whether that is the answer already. Raises InterruptAnswered where another one is."""
    if row.status == PENDING:
        return False
    if row.answer != {"value": value}:
        raise InterruptAnswered(interrupt=row.interrupt_id, by=row.answered_by)
    return True


async def locked_run(connection: AsyncConnection, tenant: str, run_id: str) -> Run:
    """The run, locked, so that of two last answers one sees the other. Raises NotFound."""
    query = sa.select(runs).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
    row = (await connection.execute(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise NotFound(resource="run", id=run_id)
    return run_of(row)


async def settle(
    connection: AsyncConnection, run_id: str, interrupt_id: str, status: str, value: Any, by: str, comment: str = ""
) -> None:
    """Store the answer to an interrupt whose run is locked."""
    match = (interrupts.c.run_id == run_id, interrupts.c.interrupt_id == interrupt_id)
    said = {"answer": {"value": value}, "answered": datetime.now(UTC), "answered_by": by, "comment": comment}
    await connection.execute(sa.update(interrupts).where(*match).values(status=status, **said))


async def go_on(connection: AsyncConnection, run: Run) -> Run:
    """Hand a locked run that is parked to the workers, where nothing is left to be answered. Returns the run."""
    left = sa.select(interrupts.c.interrupt_id).where(interrupts.c.run_id == run.run_id, interrupts.c.status == PENDING)
    if run.status is not RunStatus.INTERRUPTED or (await connection.execute(left.limit(1))).first():
        return run
    since = run.parked or datetime.now(UTC)
    changed = (
        sa.update(runs)
        .where(runs.c.run_id == run.run_id)
        .values(
            status=RunStatus.PENDING,
            parked=None,
            deadline=run.deadline + (datetime.now(UTC) - since),
            lease_expires=0,
        )
    )
    return run_of((await connection.execute(changed.returning(runs))).one())


def interrupt_of(row: Any) -> Interrupt:
    return Interrupt(row.interrupt_id, row.node, row.value, row.approval_id or "")
