"""Artifacts: values that are too large for the state of a graph, which keeps their URIs."""

import hashlib
from typing import Protocol

from graphmesh_chassis.errors import NotFound

from graphmesh_nodes.errors import ArtifactTooLarge

MAX_BYTES = 64 * 1024 * 1024
"""The largest size of one artifact."""
SCHEME = "artifact"


class Artifacts(Protocol):
    """The artifacts of one thread, as `runtime.context.artifacts`. They live as long as the thread.

    Another thread, and so another tenant, has no access to them; a copy or a fork of the thread has copies.
    """

    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        """Store bytes and return their URI, `artifact:` and their SHA-256, once they are committed.

        Equal bytes are stored once and keep their first media type, so that a repeat of a node changes nothing.

        Raises:
            ArtifactTooLarge: they are more than an artifact may have. Nothing is stored.
            Fenced: the run has been taken over. Nothing is stored.
        """

    async def get(self, uri: str) -> bytes:
        """Raises NotFound where the thread has no such artifact."""


class MemoryArtifacts:
    """Artifacts in the memory of the process: for tests of graphs."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._stored: dict[str, bytes] = {}

    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        check_size(data, self._max_bytes)
        uri = f"{SCHEME}:{hashlib.sha256(data).hexdigest()}"
        self._stored[uri] = data
        return uri

    async def get(self, uri: str) -> bytes:
        if uri not in self._stored:
            raise NotFound(resource="artifact", id=uri)
        return self._stored[uri]


def check_size(data: bytes, max_bytes: int = MAX_BYTES) -> None:
    """Raises ArtifactTooLarge."""
    if len(data) > max_bytes:
        raise ArtifactTooLarge(bytes=len(data), limit=max_bytes)
