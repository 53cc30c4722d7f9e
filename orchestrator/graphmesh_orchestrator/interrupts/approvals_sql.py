"""Approvals in SQL, on SQLite and PostgreSQL: a view of the rows of interrupts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.keyset import keyset_page
from graphmesh_nodes.approval_terms import ApprovalStatus
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import NOW
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.db.tables import ACTIVE, FINAL, interrupts, literal, runs
from graphmesh_orchestrator.interrupts.approval import Approval
from graphmesh_orchestrator.interrupts.interrupts import PENDING
from graphmesh_orchestrator.interrupts.interrupts_sql import locked_run, resume_if_answered, store_answer
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Run

OPEN = interrupts.c.status == literal(PENDING)
EXPIRING = sa.and_(OPEN, interrupts.c.expires > sa.literal_column("0"))
OVERDUE = sa.and_(EXPIRING, interrupts.c.expires <= NOW)
IS_STOPPED = sa.exists().where(runs.c.run_id == interrupts.c.run_id, sa.not_(ACTIVE))
"""The run of the approval is parked or has ended."""
current_status = sa.case(
    (sa.and_(OPEN, FINAL), ApprovalStatus.VOID),
    (OVERDUE, ApprovalStatus.EXPIRED),
    else_=interrupts.c.status,
).label("current_status")
"""The status of an approval now, before the change is written."""

OF_RUN = (
    runs.c.status.label("run_status"),
    runs.c.epoch.label("run_epoch"),
    runs.c.thread_id,
    runs.c.graph,
    runs.c.subject,
)
APPROVALS = (
    sa.select(interrupts, current_status, *OF_RUN)
    .join(runs, runs.c.run_id == interrupts.c.run_id)
    .where(interrupts.c.approval_id.is_not(None))
)


class SqlApprovals:
    """Approvals in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, approval_id: str) -> Approval:
        async with self._database.read() as connection:
            return await _get(connection, tenant, approval_id)

    async def find(
        self,
        tenant: str,
        status: ApprovalStatus | None,
        run_id: str,
        after: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Approval]:
        query = APPROVALS.where(interrupts.c.tenant == tenant, *begins_with(interrupts.c.approval_id, id_prefix))
        if status is not None:
            query = query.where(current_status == status)
        if run_id:
            query = query.where(interrupts.c.run_id == run_id)
        query = keyset_page(query, (interrupts.c.created, interrupts.c.approval_id), after, limit)
        async with self._database.read() as connection:
            return [_approval(row) for row in await connection.execute(query)]

    async def answer(self, caller: Caller, approval_id: str, status: ApprovalStatus, comment: str) -> Approval:
        async with self._database.transaction() as connection:
            approval = await _get(connection, caller.tenant, approval_id)
            approval.require_approver(caller, status, await _answerers(connection, approval))
            approval.require_open()
            run = await locked_run(connection, caller.tenant, approval.run_id)
            (await _get(connection, caller.tenant, approval_id)).require_open()
            await _store_answer(connection, approval, status, caller.subject, comment)
            about = {"run": run.run_id, "thread": run.identity.thread_id, "approval": approval_id}
            await audit_log.record_current(connection, **about, detail=status)
            await resume_if_answered(connection, run)
            return await _get(connection, caller.tenant, approval_id)

    async def next_expiry(self) -> float | None:
        first = sa.select(sa.func.min(interrupts.c.expires) - NOW).where(EXPIRING, IS_STOPPED)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def expire(self, limit: int) -> int:
        """Runs that another transaction has locked are left for the next call."""
        async with self._database.read() as connection:
            overdue = sa.select(interrupts.c.run_id).where(OVERDUE, IS_STOPPED).limit(limit)
            due = (await connection.execute(overdue)).scalars().all()
        return await self._expire(set(due)) if due else 0

    async def _expire(self, run_ids: Collection[str]) -> int:
        stopped = sa.select(runs).where(runs.c.run_id.in_(run_ids), sa.not_(ACTIVE)).order_by(runs.c.run_id)
        async with self._database.transaction() as connection:
            rows = await connection.execute(stopped.with_for_update(skip_locked=True, key_share=True))
            locked = [run_of(row._mapping) for row in rows]
            for run in locked:
                await _expire_approvals(connection, run)
        return len(locked)


async def _expire_approvals(connection: AsyncConnection, run: Run) -> None:
    """Deny the overdue approvals of a locked run; those of a run that has ended are void."""
    overdue = (interrupts.c.run_id == run.run_id, OVERDUE)
    if run.status is not RunStatus.INTERRUPTED:
        await connection.execute(sa.update(interrupts).where(*overdue).values(status=ApprovalStatus.VOID))
        return
    for row in (await connection.execute(APPROVALS.where(*overdue))).all():
        await _store_answer(connection, _approval(row), ApprovalStatus.EXPIRED)
    await resume_if_answered(connection, run)


async def _get(connection: AsyncConnection, tenant: str, approval_id: str) -> Approval:
    query = APPROVALS.where(interrupts.c.tenant == tenant, interrupts.c.approval_id == approval_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(resource="approval", id=approval_id)
    return _approval(row)


async def _answerers(connection: AsyncConnection, approval: Approval) -> set[str]:
    """Return the subjects that have answered questions of the run, where the approval needs four eyes."""
    if not approval.terms.four_eyes:
        return set()
    questions = (interrupts.c.run_id == approval.run_id, interrupts.c.approval_id.is_(None))
    answered = sa.select(interrupts.c.answered_by).where(*questions, interrupts.c.answered_by.is_not(None)).distinct()
    return set((await connection.execute(answered)).scalars()) - {""}


async def _store_answer(
    connection: AsyncConnection, approval: Approval, status: ApprovalStatus, by: str = "", comment: str = ""
) -> None:
    answer = approval.answer(status, by, comment).to_resume()
    await store_answer(connection, approval.run_id, approval.interrupt_id, status, answer, by, comment)


def _approval(row: sa.Row[Any]) -> Approval:
    run = {"status": row.run_status, "epoch": row.run_epoch, "thread_id": row.thread_id, "graph": row.graph}
    run["subject"] = row.subject
    return Approval.of(row._mapping, run, ApprovalStatus(row.current_status))
