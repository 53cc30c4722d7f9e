"""Checkpoints that this process has stored, read, or is storing."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from graphmesh_orchestrator.checkpoints.config_keys import CheckpointRef
from graphmesh_orchestrator.checkpoints.writing import Parent

MAX_PARENTS = 4096
"""Checkpoints that are kept in memory, so that writing the next one reads nothing."""


class ParentCache:
    """The checkpoints that this process has stored or read last, and those that it is storing."""

    def __init__(self, size: int = MAX_PARENTS) -> None:
        self.size = size
        self._stored: OrderedDict[CheckpointRef, Parent] = OrderedDict()
        self._storing: dict[CheckpointRef, asyncio.Future[None]] = {}

    def __contains__(self, ref: CheckpointRef) -> bool:
        """Whether a checkpoint is cached, and so stored."""
        return ref in self._stored

    def get(self, ref: CheckpointRef) -> Parent | None:
        return self._stored.get(ref)

    def add(self, ref: CheckpointRef, parent: Parent) -> None:
        """Cache a stored checkpoint."""
        self._stored[ref] = parent
        self._stored.move_to_end(ref)
        while len(self._stored) > self.size:
            self._stored.popitem(last=False)

    def evict(self, threads: Collection[str]) -> None:
        """Remove the checkpoints of threads, some of which have been deleted."""
        for ref in [ref for ref in self._stored if ref.thread_id in threads]:
            del self._stored[ref]

    @asynccontextmanager
    async def storing(self, ref: CheckpointRef) -> AsyncIterator[None]:
        """Mark a checkpoint as being stored while the body runs."""
        ended = self._storing[ref] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            ended.set_result(None)
            del self._storing[ref]

    async def wait_until_stored(self, thread_id: str) -> None:
        """Wait for the checkpoints of a thread that are being stored now, also for those that fail."""
        for ended in [ended for ref, ended in self._storing.items() if ref.thread_id == thread_id]:
            await asyncio.shield(ended)
