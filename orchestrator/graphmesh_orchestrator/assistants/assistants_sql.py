"""Assistants in SQL, on SQLite and PostgreSQL."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.assistants.assistant import MAX_VERSIONS, Assistant, Configuration
from graphmesh_orchestrator.assistants.assistants import MAX_ASSISTANTS, mismatch
from graphmesh_orchestrator.assistants.tables import assistants, versions
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.errors import ResourceLimit

_OF_ASSISTANT = sa.and_(versions.c.tenant == assistants.c.tenant, versions.c.assistant_id == assistants.c.assistant_id)
_VERSIONS = sa.select(versions, assistants.c.created).join(assistants, _OF_ASSISTANT)
_LATEST = _VERSIONS.where(versions.c.version == assistants.c.latest)
_CONTENT = [field.name for field in fields(Configuration)]


class SqlAssistants:
    """Assistants in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, max_assistants: int = MAX_ASSISTANTS) -> None:
        self._database, self._max = database, max_assistants

    async def create(self, assistant: Assistant) -> None:
        key, given = (assistant.tenant, assistant.assistant_id), assistant.configuration
        row = {"tenant": key[0], "assistant_id": key[1], "name": given.name, "graph": given.graph}
        numbers = {"latest": assistant.version, "last_version": assistant.version, "created": assistant.created}
        try:
            async with self._database.transaction() as connection:
                await self._require_capacity(connection, assistant.tenant)
                await connection.execute(sa.insert(assistants).values(**row, **numbers))
                await connection.execute(sa.insert(versions).values(_version_row(assistant)))
                await audit_log.record_current(connection, detail=assistant.assistant_id)
        except IntegrityError as error:
            has_id = await self._first(_LATEST.where(*_is(*key)))
            raise AlreadyExists(resource="assistant", id=key[1] if has_id else given.name) from error

    async def get(self, tenant: str, assistant_id: str) -> Assistant:
        if found := await self._first(_LATEST.where(*_is(tenant, assistant_id))):
            return found
        raise NotFound(resource="assistant", id=assistant_id)

    async def resolve(self, tenant: str, name: str, version: int = 0) -> Assistant:
        named = sa.and_(assistants.c.name == name, assistants.c.name != sa.literal_column("''"))
        query = _LATEST.where(assistants.c.tenant == tenant, sa.or_(assistants.c.assistant_id == name, named))
        by_id_first = sa.case((assistants.c.assistant_id == name, 0), else_=1)
        found = await self._first(query.order_by(by_id_first).limit(1))
        if not found:
            raise NotFound(resource="assistant", id=name)
        if version in (0, found.version):
            return found
        key = _is(tenant, found.assistant_id)
        if older := await self._first(_VERSIONS.where(*key, versions.c.version == version)):
            return older
        raise NotFound(resource="version", id=version)

    async def find(
        self,
        tenant: str,
        graph: str,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Assistant]:
        query = _LATEST.where(assistants.c.tenant == tenant)
        query = query.where(*begins_with(assistants.c.assistant_id, id_prefix))
        if graph:
            query = query.where(assistants.c.graph == graph)
        query = keyset_page(query, (assistants.c.created, assistants.c.assistant_id), before, limit, descending=True)
        return [_assistant_of(row) for row in await self._database.rows(query)]

    async def versions(self, tenant: str, assistant_id: str, before: int, limit: int) -> Sequence[Assistant]:
        query = _VERSIONS.where(*_is(tenant, assistant_id)).order_by(versions.c.version.desc()).limit(limit)
        found = await self._database.rows(query.where(versions.c.version < before) if before else query)
        if not found:
            await self.get(tenant, assistant_id)
        return [_assistant_of(row) for row in found]

    async def add_version(self, read: Assistant, configuration: Configuration, now: datetime) -> Assistant:
        try:
            async with self._database.transaction() as connection:
                head = await _lock(connection, read.tenant, read.assistant_id)
                if head.latest != read.version:
                    raise mismatch(read, head.latest)
                number = head.last_version + 1
                made = Assistant(read.tenant, read.assistant_id, number, configuration, head.created, now)
                await _set_latest(connection, made, last_version=number)
                await connection.execute(sa.insert(versions).values(_version_row(made)))
                old = versions.c.version <= number - MAX_VERSIONS
                await connection.execute(sa.delete(versions).where(_is_version_of(made), old))
                await audit_log.record_current(connection, detail=f"{made.assistant_id} version {number}")
                return made
        except IntegrityError as error:
            raise AlreadyExists(resource="assistant", id=configuration.name) from error

    async def set_latest(self, tenant: str, assistant_id: str, version: int) -> Assistant:
        name = ""
        try:
            async with self._database.transaction() as connection:
                await _lock(connection, tenant, assistant_id)
                query = _VERSIONS.where(*_is(tenant, assistant_id), versions.c.version == version)
                row = (await connection.execute(query)).one_or_none()
                if row is None:
                    raise NotFound(resource="version", id=version)
                name = row.name
                await _set_latest(connection, _assistant_of(row))
                await audit_log.record_current(connection, detail=f"{assistant_id} version {version}")
                return _assistant_of(row)
        except IntegrityError as error:
            raise AlreadyExists(resource="assistant", id=name) from error

    async def delete(self, tenant: str, assistant_id: str) -> None:
        async with self._database.transaction() as connection:
            await _lock(connection, tenant, assistant_id)
            for table in (versions, assistants):
                match = (table.c.tenant == tenant, table.c.assistant_id == assistant_id)
                await connection.execute(sa.delete(table).where(*match))
            await audit_log.record_current(connection, detail=assistant_id)

    async def _first(self, query: sa.Select[Any]) -> Assistant | None:
        rows = await self._database.rows(query)
        return _assistant_of(rows[0]) if rows else None

    async def _require_capacity(self, connection: AsyncConnection, tenant: str) -> None:
        """Raises ResourceLimit."""
        query = sa.select(sa.func.count()).select_from(assistants).where(assistants.c.tenant == tenant)
        if (await connection.execute(query)).scalar_one() >= self._max:
            raise ResourceLimit(resource="assistants", limit=self._max)


def _is(tenant: str, assistant_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return assistants.c.tenant == tenant, assistants.c.assistant_id == assistant_id


def _is_version_of(assistant: Assistant) -> sa.ColumnElement[bool]:
    return sa.and_(versions.c.tenant == assistant.tenant, versions.c.assistant_id == assistant.assistant_id)


async def _lock(connection: AsyncConnection, tenant: str, assistant_id: str) -> sa.Row[Any]:
    """Lock an assistant until the transaction ends. Raises NotFound."""
    query = sa.select(assistants).where(*_is(tenant, assistant_id)).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(resource="assistant", id=assistant_id)
    return row


async def _set_latest(connection: AsyncConnection, assistant: Assistant, **numbers: int) -> None:
    given = assistant.configuration
    changed = sa.update(assistants).where(*_is(assistant.tenant, assistant.assistant_id))
    await connection.execute(changed.values(name=given.name, graph=given.graph, latest=assistant.version, **numbers))


def _version_row(assistant: Assistant) -> dict[str, Any]:
    return {
        "tenant": assistant.tenant,
        "assistant_id": assistant.assistant_id,
        "version": assistant.version,
        "updated": assistant.updated,
        **vars(assistant.configuration),
    }


def _assistant_of(row: sa.Row[Any]) -> Assistant:
    columns = row._mapping
    configuration = Configuration(**{name: columns[name] for name in _CONTENT})
    return Assistant(row.tenant, row.assistant_id, row.version, configuration, row.created, row.updated)
