"""Runs one query, or serves its cached result."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from graphmesh_chassis.errors import DeadlineExceeded

from graphmesh_sql.domain import End, Head, LimitExceeded, Query, Row, Rule, RuleBroken, Truncation, Unchanged
from graphmesh_sql.result_cache import Cached, ResultCache
from graphmesh_sql.schema_cache import SchemaCache
from graphmesh_sql.warehouse import Warehouse


@dataclass(frozen=True)
class Beginning:
    """The head of a result that is sent."""

    head: Head
    query: str
    """The SQL that is run, where it is not the caller's."""
    fallback: bool
    """Whether the caller's own query was too expensive or too slow."""


@dataclass(frozen=True)
class Attempt:
    query: Query
    made: bool
    """Whether its text is not the caller's."""


@dataclass(frozen=True)
class Summary:
    """The end of a result that is sent."""

    row_count: int
    truncation: Truncation
    seconds: float
    cache_age: float | None
    """Seconds; None: the query has run."""


Part = Beginning | list[Row] | Summary


class Querying:
    """Queries of one warehouse."""

    def __init__(self, warehouse: Warehouse, cache: ResultCache) -> None:
        self._warehouse = warehouse
        self._cache = cache
        self.schemas = SchemaCache(warehouse)

    async def run(self, attempts: Sequence[Attempt], *, refresh: bool = False) -> AsyncGenerator[Part]:
        """Yield the beginning, the rows in batches, and the summary of the first attempt that succeeds.

        The next one runs if a query is refused as too expensive, exceeds a limit, or takes its part of the time, before
        it has returned a row.

        Args:
            refresh: run the query even if its result is cached.

        Raises:
            As `Warehouse.query`, of the last attempt.
        """
        for number, attempt in enumerate(attempts, 1):
            query = _with_share(attempt.query, len(attempts))
            held: Beginning | None = None
            sent = False
            try:
                async with aclosing(self._attempt(query, refresh)) as parts:
                    async for part in parts:
                        if isinstance(part, Head):
                            held = Beginning(part, query.text if attempt.made else "", fallback=number > 1)
                            if number < len(attempts):
                                continue  # until there is a row, another query can take its place
                        if held is not None:
                            yield held
                            held = None
                        if not isinstance(part, Head):
                            sent = True
                            yield part
                return
            except (RuleBroken, LimitExceeded, DeadlineExceeded) as error:
                costs = not isinstance(error, RuleBroken) or error.rule is Rule.COST
                if sent or not costs or number == len(attempts):
                    raise

    async def _attempt(self, query: Query, refresh: bool) -> AsyncGenerator[Head | list[Row] | Summary]:
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


def _with_share(query: Query, attempts: int) -> Query:
    """Give the query an equal part of the time."""
    return replace(query, limits=replace(query.limits, seconds=query.limits.seconds / attempts))


def _replayed(cached: Cached) -> list[Head | list[Row] | Summary]:
    *found, end = cached.parts
    parts = [part for part in found if isinstance(part, Head | list)]
    assert isinstance(end, End)
    age = time.monotonic() - cached.stored_at
    return [*parts, Summary(end.row_count, end.truncation, cached.seconds, age)]
