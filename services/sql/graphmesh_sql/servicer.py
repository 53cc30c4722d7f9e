"""SqlService: decode, use case, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from graphmesh.sql import v1 as pb
from graphmesh_chassis.calls import current_call

from graphmesh_sql import convert
from graphmesh_sql.declarations import Declarations
from graphmesh_sql.domain import Limits, Query, Value
from graphmesh_sql.errors import query_errors
from graphmesh_sql.metrics import plan
from graphmesh_sql.querying import Attempt, Querying
from graphmesh_sql.roles import role_of

DEFAULT_MAX_ROWS = 1000


@dataclass(frozen=True)
class ResultLimits:
    """The deployment's limits of a result."""

    max_rows: int
    max_bytes: int


class SqlServicer(pb.SqlServiceServicer):
    def __init__(self, querying: Querying, declarations: Declarations, limits: ResultLimits) -> None:
        self._querying = querying
        self._declarations = declarations
        self._limits = limits

    async def DescribeSchema(self, request: pb.DescribeSchemaRequest, context: Any) -> pb.DescribeSchemaResponse:
        with query_errors():
            schema = await self._querying.schemas.schema(self._role(request.role))
        return convert.schema_response(schema.only(request.tables))

    async def RunQuery(self, request: pb.RunQueryRequest, context: Any) -> AsyncIterator[pb.RunQueryResponse]:
        with query_errors():
            query = self._query(request.query, convert.parameters(request.parameters), request)
            async with aclosing(self._querying.run(self._attempts(query), refresh=request.refresh)) as parts:
                async for part in parts:
                    yield convert.query_response(part)

    async def QueryMetrics(
        self, request: pb.QueryMetricsRequest, context: Any
    ) -> AsyncIterator[pb.QueryMetricsResponse]:
        with query_errors():
            planned = plan(convert.metric_query(request), self._declarations.datasets)
            statements = [planned.statement, *([planned.fallback] if planned.fallback else [])]
            attempts = [Attempt(self._query(one.text, one.parameters, request), made=True) for one in statements]
            async with aclosing(self._querying.run(attempts, refresh=request.refresh)) as parts:
                async for part in parts:
                    yield convert.metrics_response(part)

    async def DescribeMetrics(self, request: pb.DescribeMetricsRequest, context: Any) -> pb.DescribeMetricsResponse:
        return convert.describe_metrics_response(self._declarations.datasets)

    async def EstimateQuery(self, request: pb.EstimateQueryRequest, context: Any) -> pb.EstimateQueryResponse:
        with query_errors():
            query = self._planned(request.query, convert.parameters(request.parameters), request.role, max_rows=0)
            return convert.estimate_response(await self._querying.estimate(query))

    def _query(
        self, text: str, parameters: tuple[Value, ...], request: pb.RunQueryRequest | pb.QueryMetricsRequest
    ) -> Query:
        max_rows = min(request.max_rows or DEFAULT_MAX_ROWS, self._limits.max_rows)
        return self._planned(text, parameters, request.role, max_rows)

    def _planned(self, text: str, parameters: tuple[Value, ...], role: str, max_rows: int) -> Query:
        call = current_call()
        limits = Limits(call.deadline.remaining, max_rows, self._limits.max_bytes)
        return Query(text, parameters, call.caller.tenant, self._role(role), "", limits)

    def _attempts(self, query: Query) -> list[Attempt]:
        """Return the query, or what the deployment declares to run instead of it: always, or after it."""
        rewrite = self._declarations.rewrite_of(query.text) if not query.parameters else None
        if rewrite is None:
            return [Attempt(query, made=False)]
        instead = Attempt(replace(query, text=rewrite.instead), made=True)
        return [instead] if rewrite.use == "always" else [Attempt(query, made=False), instead]

    def _role(self, requested: str) -> str:
        return role_of(current_call().caller, requested, self._declarations)
