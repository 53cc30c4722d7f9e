"""The port of assistants, and its memory twin."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound, VersionMismatch

from graphmesh_orchestrator.assistants.assistant import MAX_VERSIONS, Assistant, Configuration
from graphmesh_orchestrator.errors import ResourceLimit

MAX_ASSISTANTS = 1000
"""The default for the assistants of a tenant."""


class Assistants(Protocol):
    """The assistants of all tenants."""

    async def create(self, assistant: Assistant) -> None:
        """Store the first version of a new assistant.

        Raises:
            AlreadyExists: the tenant has one of this id or name.
            ResourceLimit: the tenant has as many as it may have. Some that are added at the same instant may exceed it.
        """

    async def get(self, tenant: str, assistant_id: str) -> Assistant:
        """Return the latest version. Raises NotFound, also for another tenant's."""

    async def resolve(self, tenant: str, name: str, version: int = 0) -> Assistant:
        """Return a version of the assistant with this id, else of the one with this name; 0: the latest.

        A name is that of the latest version. Raises NotFound.
        """

    async def find(
        self,
        tenant: str,
        graph: str,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Assistant]:
        """Return the latest versions of a graph's assistants, the newest assistant first, from behind `before`.

        `before` is the (created, assistant_id) of one. An empty graph and an empty `id_prefix` match all.
        """

    async def versions(self, tenant: str, assistant_id: str, before: int, limit: int) -> Sequence[Assistant]:
        """Return versions, the newest first, with numbers below `before`; 0: all. Raises NotFound."""

    async def add_version(self, read: Assistant, configuration: Configuration, now: datetime) -> Assistant:
        """Add a version to the assistant whose latest version was `read`, and make it the latest.

        Raises:
            NotFound: the assistant does not exist.
            VersionMismatch: another version is the latest by now.
            AlreadyExists: another assistant of the tenant has the name.
        """

    async def set_latest(self, tenant: str, assistant_id: str, version: int) -> Assistant:
        """Make a version the latest.

        Raises:
            NotFound: there is no such assistant or version.
            AlreadyExists: another assistant of the tenant has the name of the version.
        """

    async def delete(self, tenant: str, assistant_id: str) -> None:
        """Delete an assistant with its versions. Raises NotFound."""


class MemoryAssistants:
    """Assistants in memory."""

    def __init__(self, max_assistants: int = MAX_ASSISTANTS) -> None:
        self._max = max_assistants
        self._versions: dict[tuple[str, str], dict[int, Assistant]] = {}
        """By tenant and assistant, then by version."""
        self._latest: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], int] = {}

    async def create(self, assistant: Assistant) -> None:
        key = (assistant.tenant, assistant.assistant_id)
        if key in self._versions:
            raise AlreadyExists(resource="assistant", id=assistant.assistant_id)
        self._require_name(assistant)
        if sum(tenant == assistant.tenant for tenant, _ in self._versions) >= self._max:
            raise ResourceLimit(resource="assistants", limit=self._max)
        self._versions[key] = {assistant.version: assistant}
        self._latest[key] = self._last[key] = assistant.version

    async def get(self, tenant: str, assistant_id: str) -> Assistant:
        return self._of(tenant, assistant_id)[self._latest[tenant, assistant_id]]

    async def resolve(self, tenant: str, name: str, version: int = 0) -> Assistant:
        named = (one.assistant_id for one in self._all_latest(tenant) if name and one.configuration.name == name)
        assistant_id = name if (tenant, name) in self._versions else next(named, "")
        if not assistant_id:
            raise NotFound(resource="assistant", id=name)
        versions = self._of(tenant, assistant_id)
        if version and version not in versions:
            raise NotFound(resource="version", id=version)
        return versions[version or self._latest[tenant, assistant_id]]

    async def find(
        self,
        tenant: str,
        graph: str,
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Assistant]:
        found = [
            assistant
            for assistant in self._all_latest(tenant)
            if graph in ("", assistant.configuration.graph)
            and assistant.assistant_id.startswith(id_prefix)
            and (before is None or (assistant.created, assistant.assistant_id) < before)
        ]
        found.sort(key=lambda assistant: (assistant.created, assistant.assistant_id), reverse=True)
        return found[:limit]

    async def versions(self, tenant: str, assistant_id: str, before: int, limit: int) -> Sequence[Assistant]:
        versions = self._of(tenant, assistant_id)
        numbers = sorted((number for number in versions if not before or number < before), reverse=True)
        return [versions[number] for number in numbers[:limit]]

    async def add_version(self, read: Assistant, configuration: Configuration, now: datetime) -> Assistant:
        key = (read.tenant, read.assistant_id)
        latest = await self.get(*key)
        if latest.version != read.version:
            raise mismatch(read, latest.version)
        version = self._last[key] + 1
        made = replace(latest, version=version, configuration=configuration, updated=now)
        self._require_name(made)
        self._last[key] = self._latest[key] = version
        self._versions[key][version] = made
        for number in [number for number in self._versions[key] if number <= version - MAX_VERSIONS]:
            del self._versions[key][number]
        return made

    async def set_latest(self, tenant: str, assistant_id: str, version: int) -> Assistant:
        versions = self._of(tenant, assistant_id)
        if version not in versions:
            raise NotFound(resource="version", id=version)
        self._require_name(versions[version])
        self._latest[tenant, assistant_id] = version
        return versions[version]

    async def delete(self, tenant: str, assistant_id: str) -> None:
        self._of(tenant, assistant_id)
        for table in (self._versions, self._latest, self._last):
            del table[tenant, assistant_id]

    def _of(self, tenant: str, assistant_id: str) -> dict[int, Assistant]:
        if (tenant, assistant_id) not in self._versions:
            raise NotFound(resource="assistant", id=assistant_id)
        return self._versions[tenant, assistant_id]

    def _all_latest(self, tenant: str) -> list[Assistant]:
        return [versions[self._latest[key]] for key, versions in self._versions.items() if key[0] == tenant]

    def _require_name(self, assistant: Assistant) -> None:
        name = assistant.configuration.name
        for other in self._all_latest(assistant.tenant):
            if name and other.configuration.name == name and other.assistant_id != assistant.assistant_id:
                raise AlreadyExists(resource="assistant", id=name)


def mismatch(read: Assistant, actual: int) -> VersionMismatch:
    return VersionMismatch(resource="assistant", id=read.assistant_id, expected=read.version, actual=actual)
