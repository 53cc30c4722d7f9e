"""Caches the warehouse's schema, by role."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.errors import GraphmeshError

from graphmesh_sql.domain import RuleBroken, Schema, Unanswerable
from graphmesh_sql.warehouse import Warehouse

MAX_AGE_SECONDS: Final = 15.0
"""The age at which a schema is read again, while queries still use it; at four times the age they wait for that."""

log = structlog.get_logger("graphmesh.sql")


class SchemaCache:
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._entries: dict[str, _Entry] = {}

    async def schema(self, role: str) -> Schema:
        """Return what the role may read. The role has to be a declared one.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        entry = self._entries.setdefault(role, _Entry())
        age = time.monotonic() - entry.read_at
        if entry.schema is None or age >= 4 * MAX_AGE_SECONDS:
            return await self._read(role, entry)
        if age >= MAX_AGE_SECONDS and not entry.lock.locked():
            entry.refresh = asyncio.create_task(self._refresh(role, entry), name="schema of a role")
        return entry.schema

    async def _refresh(self, role: str, entry: "_Entry") -> None:
        set_current(None)  # it is no part of the call that has noticed the age
        try:
            await self._read(role, entry)
        except (GraphmeshError, RuleBroken, Unanswerable) as error:
            log.warning("the schema is not read again", cause=str(error))

    async def _read(self, role: str, entry: "_Entry") -> Schema:
        asked_at = time.monotonic()
        async with entry.lock:
            if entry.schema is None or entry.read_at < asked_at:
                found = await self._warehouse.describe(role)
                entry.schema = entry.schema if found == entry.schema else found
                entry.read_at = time.monotonic()
            return entry.schema


@dataclass
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    schema: Schema | None = None
    read_at: float = 0.0
    refresh: asyncio.Task[None] | None = None
