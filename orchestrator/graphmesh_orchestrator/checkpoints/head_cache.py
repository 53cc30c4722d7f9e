"""What this process knows of checkpoints: which are stored, which are being stored, and what writing the next needs."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from graphmesh_orchestrator.checkpoints.config_keys import Place
from graphmesh_orchestrator.checkpoints.writing import Parent

KNOWN = 4096
"""Checkpoints whose heads are kept in memory, so that writing the next one reads nothing."""


class Known:
    """The checkpoints that this process has stored or read last."""

    def __init__(self) -> None:
        self._stored: OrderedDict[Place, Parent] = OrderedDict()
        self._storing: dict[Place, asyncio.Future[None]] = {}

    def __contains__(self, place: Place) -> bool:
        return place in self._stored

    def parent(self, place: Place) -> Parent:
        """What is known of it; of an unknown one, nothing."""
        return self._stored.get(place, Parent())

    def add(self, place: Place, parent: Parent) -> None:
        """It is stored."""
        self._stored[place] = parent
        self._stored.move_to_end(place)
        while len(self._stored) > KNOWN:
            self._stored.popitem(last=False)

    def forget(self, threads: Collection[str]) -> None:
        for place in [place for place in self._stored if place.thread_id in threads]:
            del self._stored[place]

    @asynccontextmanager
    async def storing(self, place: Place) -> AsyncIterator[None]:
        """It is being stored meanwhile."""
        ended = self._storing[place] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            ended.set_result(None)
            del self._storing[place]

    async def settled(self, thread_id: str) -> None:
        """Wait until none of the thread is being stored that is by now."""
        for ended in [ended for place, ended in self._storing.items() if place.thread_id == thread_id]:
            await asyncio.shield(ended)
