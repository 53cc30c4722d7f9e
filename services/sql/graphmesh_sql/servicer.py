"""SqlService: decode, use case, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from graphmesh.sql import v1 as pb
from graphmesh_chassis.calls import current_call

from graphmesh_sql import convert
from graphmesh_sql.errors import query_errors
from graphmesh_sql.querying import Query, run_query
from graphmesh_sql.schema_cache import SchemaCache
from graphmesh_sql.warehouse import Warehouse

DEFAULT_MAX_ROWS = 1000


class SqlServicer(pb.SqlServiceServicer):
    def __init__(self, warehouse: Warehouse, max_rows: int) -> None:
        self._warehouse = warehouse
        self._schema_cache = SchemaCache(warehouse)
        self._max_rows = max_rows

    async def DescribeSchema(self, request: pb.DescribeSchemaRequest, context: Any) -> pb.DescribeSchemaResponse:
        schema = await self._schema_cache.schema()
        return convert.schema_response(schema.only(request.tables))

    async def RunQuery(self, request: pb.RunQueryRequest, context: Any) -> AsyncIterator[pb.RunQueryResponse]:
        call = current_call()
        max_rows = min(request.max_rows or DEFAULT_MAX_ROWS, self._max_rows)
        query = Query(request.query, call.caller.tenant, max_rows, call.deadline)
        with query_errors():
            async with aclosing(run_query(self._warehouse, self._schema_cache, query)) as parts:
                async for part in parts:
                    yield convert.query_response(part)
