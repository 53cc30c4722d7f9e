"""Runs one query, or serves its cached result."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from graphmesh_sql.domain import End, Head, Query, ResultPart, Truncation, Unchanged
from graphmesh_sql.result_cache import Cached, ResultCache
from graphmesh_sql.schema_cache import SchemaCache
from graphmesh_sql.warehouse import Warehouse


@dataclass(frozen=True)
class Summary:
    """The end of a result that is sent."""

    row_count: int
    truncation: Truncation
    seconds: float
    cache_age: float | None
    """Seconds; None: the query has run."""


class Querying:
    """Queries of one warehouse."""

    def __init__(self, warehouse: Warehouse, cache: ResultCache) -> None:
        self._warehouse = warehouse
        self._cache = cache
        self.schemas = SchemaCache(warehouse)

    async def run(self, query: Query, *, refresh: bool = False) -> AsyncGenerator[ResultPart | Summary]:
        """Yield the head, the rows in batches, and the summary.

        Args:
            refresh: run the query even if its result is cached.

        Raises:
            As `Warehouse.query`.
        """
        began = time.monotonic()
        schema = await self.schemas.schema(query.role)
        cached = None if refresh else self._cache.find(query)
        recording = self._cache.recording()
        sent = replace(query, unless_version=cached.version if cached else "")
        async with aclosing(self._warehouse.query(sent, schema)) as parts:
            async for part in parts:
                if isinstance(part, Unchanged):
                    break
                recording.add(part)
                if isinstance(part, End):
                    seconds = time.monotonic() - began
                    self._cache.store(query, recording, seconds)
                    yield Summary(part.row_count, part.truncation, seconds, None)
                else:
                    yield part
            else:
                return
        assert cached is not None
        for each in _replayed(cached):
            yield each

    async def estimate(self, query: Query) -> Head:
        """Check a query, and return its columns and what the planner expects, without its rows. Raises as `run`."""
        schema = await self.schemas.schema(query.role)
        async with aclosing(self._warehouse.query(query, schema)) as parts:
            async for part in parts:
                if isinstance(part, Head):
                    return part
        raise RuntimeError("a result without a head")


def _replayed(cached: Cached) -> list[ResultPart | Summary]:
    *parts, end = cached.parts
    assert isinstance(end, End)
    age = time.monotonic() - cached.stored_at
    return [*parts, Summary(end.row_count, end.truncation, cached.seconds, age)]
