"""Feedback of runs in SQL, on SQLite and PostgreSQL."""

from collections.abc import Sequence

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.telemetry import names

from graphmesh_orchestrator.db.tables import feedback, runs
from graphmesh_orchestrator.runs.feedback import MAX_CALLERS, SCORES, Feedback, is_repeat, too_many


class SqlFeedbacks:
    """Feedback in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, tenant: str, run_id: str, given: Feedback) -> Feedback:
        async with self._database.transaction() as connection:
            query = sa.select(runs.c.thread_id, runs.c.graph).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
            locked = (await connection.execute(query.with_for_update(key_share=True))).one_or_none()
            if locked is None:
                raise NotFound(resource="run", id=run_id)
            rows = (await connection.execute(sa.select(feedback).where(feedback.c.run_id == run_id))).all()
            stored = next((_feedback_of(row) for row in rows if row.subject == given.subject), None)
            if stored is not None and is_repeat(given, stored):
                return stored
            if stored is None and len(rows) >= MAX_CALLERS:
                raise too_many(run_id)
            insert = self._database.insert(feedback).values(run_id=run_id, **vars(given))
            changed = {name: insert.excluded[name] for name in ("score", "comment", "time")}
            key = (feedback.c.run_id, feedback.c.subject)
            await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))
            detail = f"score {given.score:g}"
            await audit_log.record_current(connection, run=run_id, thread=locked.thread_id, detail=detail)
        SCORES.record(given.score, {names.GRAPH: locked.graph})
        return given

    async def of_run(self, run_id: str) -> Sequence[Feedback]:
        query = sa.select(feedback).where(feedback.c.run_id == run_id)
        rows = await self._database.rows(query.order_by(feedback.c.time, feedback.c.subject))
        return [_feedback_of(row) for row in rows]


def _feedback_of(row: sa.Row[tuple[str, str, float, str, object]]) -> Feedback:
    columns = row._mapping
    return Feedback(columns["subject"], columns["score"], columns["comment"], columns["time"])
