"""Approvals in SQL: a view of the rows of interrupts that only this answers, each once."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.keyset import keyset_page
from graphmesh_nodes.approval_terms import ApprovalStatus, ApprovalTerms
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import NOW
from graphmesh_orchestrator.db.tables import ACTIVE, runs
from graphmesh_orchestrator.interrupts.interrupts_sql import go_on, interrupts, locked_run, settle
from graphmesh_orchestrator.interrupts.stored_approval import StoredApproval
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import run_of

OPEN = interrupts.c.status == sa.literal_column("'pending'")
"""Literally as the index of what expires has it, or SQLite would not use it."""
EXPIRING = sa.and_(OPEN, interrupts.c.expires > sa.literal_column("0"))
OVERDUE = sa.and_(EXPIRING, interrupts.c.expires <= NOW)
ENDED = sa.not_(sa.or_(ACTIVE, runs.c.status == RunStatus.INTERRUPTED))
stands = sa.case(
    (sa.and_(OPEN, ENDED), ApprovalStatus.VOID),
    (OVERDUE, ApprovalStatus.EXPIRED),
    else_=interrupts.c.status,
).label("stands")
"""Where an approval stands now, whatever of it is written already."""

OF_RUN = (runs.c.status.label("run_status"), runs.c.epoch.label("run_epoch"), runs.c.thread_id, runs.c.graph)
APPROVALS = (
    sa.select(interrupts, stands, *OF_RUN)
    .join(runs, runs.c.run_id == interrupts.c.run_id)
    .where(interrupts.c.approval_id.is_not(None))
)


class SqlApprovals:
    """The approvals of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, approval_id: str) -> StoredApproval:
        """Raises NotFound, also for another tenant's."""
        async with self._database.read() as connection:
            return await _get(connection, tenant, approval_id)

    async def find(
        self, tenant: str, status: ApprovalStatus | None, run_id: str, after: tuple[datetime, str] | None, limit: int
    ) -> list[StoredApproval]:
        """Approvals that stand so, of that run, the oldest first, which come after the (created, approval_id)."""
        query = APPROVALS.where(interrupts.c.tenant == tenant)
        if status is not None:
            query = query.where(stands == status)
        if run_id:
            query = query.where(interrupts.c.run_id == run_id)
        query = keyset_page(query, (interrupts.c.created, interrupts.c.approval_id), after, limit)
        async with self._database.read() as connection:
            return [_approval(row) for row in await connection.execute(query)]

    async def answer(self, caller: Caller, approval_id: str, status: ApprovalStatus, comment: str) -> StoredApproval:
        """Answer an approval, which can be done once. Its run goes on where it waits for nothing else.

        Raises:
            NotFound: there is no such approval of the caller's tenant.
            ScopeMissing: the caller may not answer it.
            ApprovalAnswered, ApprovalExpired, RunNotInterrupted: as `StoredApproval.require_open`.
        """
        async with self._database.transaction() as connection:
            approval = await _get(connection, caller.tenant, approval_id)
            caller.require(frozenset(approval.terms.scopes))
            approval.require_open()
            run = await locked_run(connection, caller.tenant, approval.run_id)
            (await _get(connection, caller.tenant, approval_id)).require_open()
            await _settle(connection, approval, status, caller.subject, comment)
            await go_on(connection, run)
            return await _get(connection, caller.tenant, approval_id)

    async def next_expiry(self) -> float | None:
        """Seconds until nobody can answer any more what was asked first to be answered; None where nothing expires."""
        first = sa.select(sa.func.min(interrupts.c.expires) - NOW).where(EXPIRING)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def expire(self, limit: int) -> int:
        """Deny what nobody has answered in time, of a limited number of runs. Returns how many runs had some.

        Several at once get different runs: one that somebody has locked is left for later.
        """
        async with self._database.read() as connection:
            due = (await connection.execute(sa.select(interrupts.c.run_id).where(OVERDUE).limit(limit))).scalars().all()
        return await self._expire(set(due)) if due else 0

    async def _expire(self, run_ids: Collection[str]) -> int:
        waiting = sa.select(runs).where(runs.c.run_id.in_(run_ids), sa.not_(ACTIVE)).order_by(runs.c.run_id)
        async with self._database.transaction() as connection:
            taken = await connection.execute(waiting.with_for_update(skip_locked=True, key_share=True))
            locked = [run_of(row) for row in taken]
            for run in locked:
                await _expire_of(connection, run)
        return len(locked)


async def _expire_of(connection: AsyncConnection, run: Run) -> None:
    """Deny what is overdue of a locked run; of one that has ended it is void."""
    overdue = (interrupts.c.run_id == run.run_id, OVERDUE)
    if run.status is not RunStatus.INTERRUPTED:
        await connection.execute(sa.update(interrupts).where(*overdue).values(status=ApprovalStatus.VOID))
        return
    for row in (await connection.execute(APPROVALS.where(*overdue))).all():
        await _settle(connection, _approval(row), ApprovalStatus.EXPIRED)
    await go_on(connection, run)


async def _get(connection: AsyncConnection, tenant: str, approval_id: str) -> StoredApproval:
    query = APPROVALS.where(interrupts.c.tenant == tenant, interrupts.c.approval_id == approval_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(resource="approval", id=approval_id)
    return _approval(row)


async def _settle(
    connection: AsyncConnection, approval: StoredApproval, status: ApprovalStatus, by: str = "", comment: str = ""
) -> None:
    answer = approval.decided(status, by, comment).answer()
    await settle(connection, approval.run_id, approval.interrupt_id, status, answer, by, comment)


def _approval(row: Any) -> StoredApproval:
    terms = dict(row.approval)
    return StoredApproval(
        approval_id=row.approval_id,
        run_id=row.run_id,
        run_status=RunStatus(row.run_status),
        run_epoch=row.run_epoch,
        thread_id=row.thread_id,
        graph=row.graph,
        node=row.node,
        interrupt_id=row.interrupt_id,
        checkpoint_id=terms.pop("checkpoint_id"),
        terms=ApprovalTerms(**terms),
        status=ApprovalStatus(row.stands),
        created=row.created,
        expires=row.expires,
        answered=row.answered,
        answered_by=row.answered_by,
        comment=row.comment,
    )
