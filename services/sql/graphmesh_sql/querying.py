"""Runs one guarded query, from its text to its last row."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from graphmesh_chassis.deadline import Deadline

from graphmesh_sql.domain import ResultPart, Summary, batches
from graphmesh_sql.guard import check_query
from graphmesh_sql.schema_cache import SchemaCache
from graphmesh_sql.warehouse import Result, Warehouse

FETCH_ROWS: Final = 100
"""Rows that are read from the database at a time."""


@dataclass(frozen=True)
class Query:
    text: str
    tenant: str
    max_rows: int
    deadline: Deadline


async def run_query(warehouse: Warehouse, schemas: SchemaCache, query: Query) -> AsyncGenerator[ResultPart]:
    """Yield the columns, the rows in batches, and the summary.

    Raises:
        RuleBroken: the query breaks a rule.
        Otherwise as `Warehouse.query`.
    """
    began = time.monotonic()
    await asyncio.to_thread(check_query, query.text, await schemas.schema())
    async with warehouse.query(query.text, query.tenant, query.deadline.remaining) as result:
        yield result.columns
        sent = 0
        while sent < query.max_rows:
            rows = await result.fetch(min(FETCH_ROWS, query.max_rows - sent))
            if not rows:
                break
            for batch in batches(rows):
                yield batch
            sent += len(rows)
        truncated = sent == query.max_rows and await _has_more(result)
    yield Summary(sent, truncated, time.monotonic() - began)


async def _has_more(result: Result) -> bool:
    return bool(await result.fetch(1))
