"""Caches the warehouse's schema."""

import asyncio
import time
from typing import Final

from graphmesh_sql.domain import Schema
from graphmesh_sql.warehouse import Warehouse

MAX_AGE_SECONDS: Final = 15.0


class SchemaCache:
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._lock = asyncio.Lock()
        self._schema: Schema | None = None
        self._expires_at = 0.0

    async def schema(self) -> Schema:
        """Return the schema, at most `MAX_AGE_SECONDS` old.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        async with self._lock:
            if self._schema is None or time.monotonic() >= self._expires_at:
                self._schema = await self._warehouse.describe()
                self._expires_at = time.monotonic() + MAX_AGE_SECONDS
            return self._schema
