"""Spans in SQL."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime

from graphmesh_telemetry.domain import Span

metadata = sa.MetaData()
table = sa.Table(
    "spans",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("trace_id", sa.String(32), nullable=False),
    sa.Column("span_id", sa.String(16), nullable=False),
    sa.Column("parent_id", sa.String(16), nullable=False),
    sa.Column("service", sa.String(200), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("start", UtcDateTime, nullable=False),
    sa.Column("end", UtcDateTime, nullable=False),
    sa.Column("error", sa.String(200), nullable=False),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("run", sa.String(255), nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Index("spans_by_trace", "trace_id", "start"),
    sa.Index("spans_by_run", "tenant", "run"),
    sa.Index("spans_by_end", "end"),
)
"""One row a span; more for one that arrived twice, as those of a process that was killed while it exported them."""
MAX_TRACES = 16
"""Traces that the spans of a run are in."""


class SqlSpans:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, spans: Sequence[Span]) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(sa.insert(table), [vars(span) for span in spans])

    async def of_run(self, tenant: str, run: str, limit: int) -> list[Span]:
        of_run = sa.select(table.c.trace_id).where(table.c.tenant == tenant, table.c.run == run)
        async with self._database.read() as connection:
            traces = (await connection.scalars(of_run.distinct().limit(MAX_TRACES))).all()
            columns = [column for column in table.c if column.name != "id"]
            in_traces = sa.select(*columns).where(table.c.trace_id.in_(traces)).order_by(table.c.start, table.c.id)
            rows = (await connection.execute(in_traces.limit(limit))).all()
        return list({(row.trace_id, row.span_id): Span(**row._mapping) for row in reversed(rows)}.values())[::-1]

    async def prune(self, before: datetime, keep: int) -> None:
        newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
        async with self._database.transaction() as connection:
            await connection.execute(sa.delete(table).where(table.c.id <= newest - keep))
            await connection.execute(sa.delete(table).where(table.c.end < before))
