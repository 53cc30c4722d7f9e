"""SqlService: decode, use case, encode."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from graphmesh.sql import v1 as pb
from graphmesh_chassis.calls import current_call

from graphmesh_sql import convert
from graphmesh_sql.declarations import Declarations
from graphmesh_sql.domain import Limits, Query
from graphmesh_sql.errors import query_errors
from graphmesh_sql.querying import Querying
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
            max_rows = min(request.max_rows or DEFAULT_MAX_ROWS, self._limits.max_rows)
            query = self._query(request.query, request.parameters, request.role, max_rows)
            async with aclosing(self._querying.run(query, refresh=request.refresh)) as parts:
                async for part in parts:
                    yield convert.query_response(part)

    async def EstimateQuery(self, request: pb.EstimateQueryRequest, context: Any) -> pb.EstimateQueryResponse:
        with query_errors():
            query = self._query(request.query, request.parameters, request.role, max_rows=0)
            return convert.estimate_response(await self._querying.estimate(query))

    def _query(self, text: str, parameters: Iterable[pb.Parameter], role: str, max_rows: int) -> Query:
        call = current_call()
        limits = Limits(call.deadline.remaining, max_rows, self._limits.max_bytes)
        return Query(text, convert.parameters(parameters), call.caller.tenant, self._role(role), "", limits)

    def _role(self, requested: str) -> str:
        return role_of(current_call().caller, requested, self._declarations)
