"""What a graph puts aside because it is too big for its state: the state keeps a URI."""

import hashlib
from typing import Protocol

from graphmesh_chassis.errors import NotFound

from graphmesh_nodes.errors import ArtifactTooLarge

MAX_BYTES = 64 * 1024 * 1024
"""Of one artifact."""
SCHEME = "artifact"


class Artifacts(Protocol):
    """The artifacts of one thread, as `runtime.context.artifacts`. They live as long as the thread.

    They are the thread's own: another thread, and so another tenant, has no way to them; a copy or a fork has copies.
    """

    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        """Store bytes. Returns their URI, `artifact:` and their SHA-256, when they are committed.

        The same bytes are stored once and keep the media type that they came with first, so a node that runs again
        changes nothing.

        Raises:
            ArtifactTooLarge: they are more than an artifact may have. Nothing is stored.
            Fenced: the run has been taken over. Nothing is stored.
        """

    async def get(self, uri: str) -> bytes:
        """Raises NotFound where the thread has no such artifact."""


class MemoryArtifacts:
    """Artifacts that are gone with the process: for tests of graphs."""

    def __init__(self) -> None:
        self._stored: dict[str, bytes] = {}

    async def put(self, data: bytes, media_type: str = "application/octet-stream") -> str:
        check_size(data)
        uri = f"{SCHEME}:{hashlib.sha256(data).hexdigest()}"
        self._stored[uri] = data
        return uri

    async def get(self, uri: str) -> bytes:
        if uri not in self._stored:
            raise NotFound(resource="artifact", id=uri)
        return self._stored[uri]


def check_size(data: bytes) -> None:
    """Raises ArtifactTooLarge."""
    if len(data) > MAX_BYTES:
        raise ArtifactTooLarge(bytes=len(data), limit=MAX_BYTES)
