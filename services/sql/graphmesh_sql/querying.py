"""One guarded query, from its text to its last row."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from graphmesh_chassis.deadline import Deadline

from graphmesh_sql.catalog import Catalog
from graphmesh_sql.domain import ResultColumn, Row, Summary, batches
from graphmesh_sql.guard import judge
from graphmesh_sql.warehouse import Result, Warehouse

FETCHED_ROWS: Final = 100
"""Rows that are held at a time."""


@dataclass(frozen=True)
class Question:
    """A query as somebody asks it."""

    text: str
    tenant: str
    max_rows: int
    deadline: Deadline


async def answer(
    warehouse: Warehouse, catalog: Catalog, question: Question
) -> AsyncGenerator[tuple[ResultColumn, ...] | list[Row] | Summary]:
    """The columns, the rows in batches, the summary. Raises as `Warehouse.query` does."""
    began = time.monotonic()
    await asyncio.to_thread(judge, question.text, await catalog.schema())
    async with warehouse.query(question.text, question.tenant, question.deadline.remaining) as result:
        yield result.columns
        sent = 0
        while sent < question.max_rows:
            rows = await result.fetch(min(FETCHED_ROWS, question.max_rows - sent))
            if not rows:
                break
            for batch in batches(rows):
                yield batch
            sent += len(rows)
        truncated = sent == question.max_rows and await _has_more(result)
    yield Summary(sent, truncated, time.monotonic() - began)


async def _has_more(result: Result) -> bool:
    return bool(await result.fetch(1))
