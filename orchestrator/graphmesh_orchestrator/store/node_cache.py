"""Caches of nodes with a `cache_policy`: the results of a graph for one tenant are read by nothing else."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import structlog
from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

log = structlog.get_logger("graphmesh.cache")

MAX_BYTES = 64 * 1024 * 1024
"""The bytes of all results that a process caches. The tenant that has the most loses those that it used the longest
ago."""
MAX_ENTRY_BYTES = 4 * 1024 * 1024
"""A larger result is not cached."""

Pairs = Mapping[FullKey, tuple[Any, int | None]]


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    data: bytes
    expires: float
    """In seconds of the cache's clock; infinite for never."""


class NodeCache(BaseCache[Any]):
    """The cache of a process. The first element of each namespace is the tenant."""

    def __init__(
        self,
        *,
        serde: SerializerProtocol | None = None,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(serde=serde)
        self._max_bytes, self._clock, self._lock = max_bytes, clock, Lock()
        self._entries: dict[str, OrderedDict[FullKey, _Entry]] = {}
        """By tenant, the one that was used the longest ago first."""
        self._bytes: dict[str, int] = {}

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        with self._lock:
            found = {key: entry for key in keys if (entry := self._live(key))}
        return {key: self.serde.loads_typed((entry.kind, entry.data)) for key, entry in found.items()}

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        return self.get(keys)

    def set(self, pairs: Pairs) -> None:
        """Cache results. One that cannot be serialized, or is large, is not cached."""
        for key, (value, ttl) in pairs.items():
            try:
                kind, data = self.serde.dumps_typed(value)
            except Exception as error:  # of the value's own code
                log.warning("result of a node not cached", node=key[0][-1], exc_info=error)
                continue
            if len(data) <= MAX_ENTRY_BYTES:
                expires = float("inf") if ttl is None else self._clock() + ttl
                with self._lock:
                    self._add(key, _Entry(kind, data, expires))

    async def aset(self, pairs: Pairs) -> None:
        self.set(pairs)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        with self._lock:
            for entries in list(self._entries.values()):
                for key in [key for key in entries if namespaces is None or key[0] in namespaces]:
                    self._remove(key)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        self.clear(namespaces)

    def _live(self, key: FullKey) -> _Entry | None:
        entries = self._entries.get(key[0][0], OrderedDict())
        entry = entries.get(key)
        if entry and entry.expires <= self._clock():
            self._remove(key)
            return None
        if entry:
            entries.move_to_end(key)
        return entry

    def _add(self, key: FullKey, entry: _Entry) -> None:
        self._remove(key)
        tenant = key[0][0]
        self._entries.setdefault(tenant, OrderedDict())[key] = entry
        self._bytes[tenant] = self._bytes.get(tenant, 0) + len(entry.data)
        while sum(self._bytes.values()) > self._max_bytes:
            largest = max(self._bytes, key=lambda name: self._bytes[name])
            self._remove(next(iter(self._entries[largest])))

    def _remove(self, key: FullKey) -> None:
        tenant = key[0][0]
        entries = self._entries.get(tenant, OrderedDict())
        if entry := entries.pop(key, None):
            self._bytes[tenant] -= len(entry.data)
        if not entries:
            self._entries.pop(tenant, None)
            self._bytes.pop(tenant, None)


class ScopedCache(BaseCache[Any]):
    """The part of a cache that one graph has for one tenant."""

    def __init__(self, cache: BaseCache[Any], scope: Namespace) -> None:
        super().__init__(serde=cache.serde)
        self._cache, self._scope = cache, scope

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        return self._own(self._cache.get(self._scoped(keys)))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        return self._own(await self._cache.aget(self._scoped(keys)))

    def set(self, pairs: Pairs) -> None:
        self._cache.set({self._key(key): value for key, value in pairs.items()})

    async def aset(self, pairs: Pairs) -> None:
        await self._cache.aset({self._key(key): value for key, value in pairs.items()})

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        self._cache.clear(self._namespaces(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        await self._cache.aclear(self._namespaces(namespaces))

    def _key(self, key: FullKey) -> FullKey:
        return (*self._scope, *key[0]), key[1]

    def _scoped(self, keys: Sequence[FullKey]) -> Sequence[FullKey]:
        return [self._key(key) for key in keys]

    def _own(self, found: Mapping[FullKey, Any]) -> dict[FullKey, Any]:
        return {(namespace[len(self._scope) :], key): value for (namespace, key), value in found.items()}

    def _namespaces(self, namespaces: Sequence[Namespace] | None) -> Sequence[Namespace]:
        """Raises ValueError: without namespaces it would clear what others have."""
        if namespaces is None:
            raise ValueError("clear the cache of nodes by their namespaces: the rest of it is of other tenants")
        return [(*self._scope, *namespace) for namespace in namespaces]
