"""Interrupts and their answers in SQL, on SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.clock import seconds_now
from graphmesh_orchestrator.db.tables import interrupts, runs
from graphmesh_orchestrator.errors import RunNotInterrupted
from graphmesh_orchestrator.interrupts.interrupts import (
    ANSWERED,
    PENDING,
    interrupt_of,
    is_answered,
    require_answerable,
    require_plain,
)
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Interrupt, Run

_WITHOUT_VALUES = sa.select(*(column for column in interrupts.c if column.name != "value"), sa.null().label("value"))
"""Selects interrupts whose value is None."""


class SqlInterrupts:
    """Interrupts in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, run_ids: Sequence[str], *, values: bool = True) -> Mapping[str, Sequence[Interrupt]]:
        query = (sa.select(interrupts) if values else _WITHOUT_VALUES).where(
            interrupts.c.run_id.in_(run_ids), interrupts.c.status == PENDING
        )
        found: dict[str, list[Interrupt]] = {run_id: [] for run_id in run_ids}
        async with self._database.read() as connection:
            for row in await connection.execute(query.order_by(interrupts.c.created, interrupts.c.interrupt_id)):
                found[row.run_id].append(interrupt_of(row._mapping))
        return found

    async def of_thread(self, tenant: str, thread_id: str) -> Mapping[str, Interrupt]:
        holds_thread = (runs.c.tenant == tenant, runs.c.thread_id == thread_id, runs.c.holds_thread)
        query = sa.select(interrupts).join(runs, runs.c.run_id == interrupts.c.run_id)
        async with self._database.read() as connection:
            rows = await connection.execute(query.where(*holds_thread, interrupts.c.status == PENDING))
            return {row.interrupt_id: interrupt_of(row._mapping) for row in rows}

    async def answers(self, run_id: str) -> Mapping[str, Any]:
        query = sa.select(interrupts.c.interrupt_id, interrupts.c.answer)
        answered = query.where(interrupts.c.run_id == run_id, interrupts.c.answer.is_not(None))
        async with self._database.read() as connection:
            return {row.interrupt_id: row.answer["value"] for row in await connection.execute(answered)}

    async def last_answered(self, run_id: str) -> datetime | None:
        query = sa.select(sa.func.max(interrupts.c.answered)).where(interrupts.c.run_id == run_id)
        async with self._database.read() as connection:
            answered: datetime | None = (await connection.execute(query)).scalar()
        return answered

    async def answer(self, tenant: str, run_id: str, answers: Mapping[str, Any], by: str) -> Run:
        async with self._database.transaction() as connection:
            run = await locked_run(connection, tenant, run_id)
            require_plain(answers, run_id)
            query = sa.select(interrupts).where(interrupts.c.run_id == run_id, interrupts.c.interrupt_id.in_(answers))
            rows = {row.interrupt_id: row._mapping for row in await connection.execute(query)}
            require_answerable(rows, answers)
            new = [key for key, value in answers.items() if not is_answered(rows[key], value)]
            if new and run.status is not RunStatus.INTERRUPTED:
                raise RunNotInterrupted(run=run_id, status=run.status)
            for interrupt_id in new:
                await store_answer(connection, run_id, interrupt_id, ANSWERED, answers[interrupt_id], by)
            if not new:
                return run
            thread_id, answered = run.identity.thread_id, " ".join(sorted(new))
            await audit_log.record_current(connection, run=run_id, thread=thread_id, detail=answered)
            return await resume_if_answered(connection, run)


async def locked_run(connection: AsyncConnection, tenant: str, run_id: str) -> Run:
    """Return the run with its row locked, so that of two last answers one reads the other. Raises NotFound."""
    query = sa.select(runs).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
    row = (await connection.execute(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise NotFound(resource="run", id=run_id)
    return run_of(row._mapping)


async def store_answer(
    connection: AsyncConnection, run_id: str, interrupt_id: str, status: str, value: Any, by: str, comment: str = ""
) -> None:
    """Store the answer to an interrupt whose run is locked."""
    match = (interrupts.c.run_id == run_id, interrupts.c.interrupt_id == interrupt_id)
    answer = {"answer": {"value": value}, "answered": datetime.now(UTC), "answered_by": by, "comment": comment}
    await connection.execute(sa.update(interrupts).where(*match).values(status=status, **answer))


async def resume_if_answered(connection: AsyncConnection, run: Run) -> Run:
    """Make a locked run that is parked and has no open interrupts pending. Returns the run.

    The deadline is extended by the time that the run was parked.
    """
    left = sa.select(interrupts.c.interrupt_id).where(interrupts.c.run_id == run.run_id, interrupts.c.status == PENDING)
    if run.status is not RunStatus.INTERRUPTED or (await connection.execute(left.limit(1))).first():
        return run
    now = datetime.fromtimestamp((await connection.execute(sa.select(seconds_now()))).scalar_one(), UTC)
    resumed = (
        sa.update(runs)
        .where(runs.c.run_id == run.run_id)
        .values(
            status=RunStatus.PENDING,
            parked=None,
            deadline=run.state.deadline + max(timedelta(), now - (run.state.parked or now)),
            lease_expires=0,
        )
    )
    return run_of((await connection.execute(resumed.returning(runs))).one()._mapping)
