"""What the warehouse looks like, asked for once in a while."""

import asyncio
import time
from typing import Final

from graphmesh_sql.domain import Schema
from graphmesh_sql.warehouse import Warehouse

FRESH_SECONDS: Final = 15.0


class Catalog:
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._turn = asyncio.Lock()
        self._schema: Schema | None = None
        self._stale_at = 0.0

    async def schema(self) -> Schema:
        """The schema, some seconds old at the most. Raises DatabaseUnavailable."""
        async with self._turn:
            if self._schema is None or time.monotonic() >= self._stale_at:
                self._schema = await self._warehouse.describe()
                self._stale_at = time.monotonic() + FRESH_SECONDS
            return self._schema
