"""Caches small results in memory, the least recently used of which make room for new ones."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from graphmesh_sql.domain import Head, Query, ResultPart, row_bytes

MAX_SHARE: Final = 16
"""A result takes at most one of so many parts of the cache."""
OBJECT_FACTOR: Final = 4
"""Bytes of Python's objects for a byte on the wire, approximately."""


@dataclass(frozen=True)
class Cached:
    parts: tuple[ResultPart, ...]
    """From the head to the end."""
    version: str
    """The version of the data."""
    stored_at: float
    """By the monotonic clock."""
    seconds: float
    """The duration of the query."""
    size: int


Key = tuple[object, ...]


class ResultCache:
    def __init__(self, max_seconds: float, max_bytes: int) -> None:
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: OrderedDict[Key, Cached] = OrderedDict()

    def find(self, query: Query) -> Cached | None:
        """Return the result of an equal query of the same tenant and role, whose data may have changed meanwhile."""
        key = _key(query)
        found = self._entries.get(key)
        if found is None:
            return None
        if time.monotonic() - found.stored_at >= self._max_seconds:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return found

    def store(self, query: Query, recording: "Recording", seconds: float) -> None:
        """Store a complete result, unless it is too large or would differ in a repeat."""
        head = recording.parts[0] if recording.parts else None
        if not isinstance(head, Head) or not head.repeatable or not head.version or recording.size < 0:
            return
        self._remove(_key(query))
        entry = Cached(tuple(recording.parts), head.version, time.monotonic(), seconds, recording.size)
        self._entries[_key(query)] = entry
        self._size += entry.size
        while self._size > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def recording(self) -> "Recording":
        return Recording(self._max_bytes // MAX_SHARE if self._max_seconds else 0)

    def _remove(self, key: Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._size -= entry.size


class Recording:
    """The parts of a result as far as they fit into the cache; a negative size: they do not."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.parts: list[ResultPart] = []
        self.size = 0 if max_bytes else -1

    def add(self, part: ResultPart) -> None:
        if self.size < 0:
            return
        self.parts.append(part)
        self.size += OBJECT_FACTOR * (sum(map(row_bytes, part)) if isinstance(part, list) else 200)
        if self.size > self._max_bytes:
            self.parts, self.size = [], -1


def _key(query: Query) -> Key:
    types = tuple(map(type, query.parameters))  # 1 and 1.0 and True are equal
    limits = query.limits.max_rows, query.limits.max_bytes
    return query.text, query.parameters, types, query.tenant, query.role, limits
