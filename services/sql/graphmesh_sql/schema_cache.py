"""Caches the warehouse's schema, by role."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from graphmesh_sql.domain import Schema
from graphmesh_sql.warehouse import Warehouse

MAX_AGE_SECONDS: Final = 15.0


class SchemaCache:
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._entries: dict[str, _Entry] = {}

    async def schema(self, role: str) -> Schema:
        """Return what the role may read, at most `MAX_AGE_SECONDS` old. The role has to be a declared one.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        entry = self._entries.setdefault(role, _Entry())
        async with entry.lock:
            if entry.schema is None or time.monotonic() >= entry.expires_at:
                found = await self._warehouse.describe(role)
                entry.schema = entry.schema if found == entry.schema else found
                entry.expires_at = time.monotonic() + MAX_AGE_SECONDS
            return entry.schema


@dataclass
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    schema: Schema | None = None
    expires_at: float = 0.0
