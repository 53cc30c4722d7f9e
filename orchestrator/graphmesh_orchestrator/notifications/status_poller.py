"""Looking for what nobody told: how the runs stand that somebody waits for and another process executes."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.notifications.notifier import Notices, Topic
from graphmesh_orchestrator.runs.run import Stand

log = structlog.get_logger("graphmesh.looking")

ELSEWHERE_SECONDS = 1.0
"""Between two looks, where other processes tell nothing."""
CONNECTED_SECONDS = 5.0
"""The same where they do: what they say may get lost."""


class Stands(Protocol):
    """Where it is read how runs stand."""

    async def stands(self, run_ids: Collection[str]) -> Mapping[str, Stand]:
        """How they stand; one that is not there is missing."""


class Looking:
    """One look for all who wait. What this process executes itself tells its waiters, and is not looked for."""

    def __init__(self, runs: Stands, notices: Notices, here: Callable[[], Collection[str]]) -> None:
        """`here` are the runs that this process executes."""
        self._runs, self._notices, self._here = runs, notices, here
        self._known: Mapping[str, Stand | None] = {}

    async def run(self) -> None:
        """For ever."""
        looked = time.monotonic()
        while True:
            await asyncio.sleep(ELSEWHERE_SECONDS)
            if self._notices.others.connected and time.monotonic() - looked < CONNECTED_SECONDS:
                continue
            looked = time.monotonic()
            try:
                await self.look()
            except DependencyError as error:
                log.warning("nobody looked", reason=error.reason)

    async def look(self) -> None:
        """Wake those whose runs stand otherwise than at the last look, or were not looked for then."""
        waited = self._notices.waited_for.difference(self._here())
        found = await self._runs.stands(waited) if waited else {}
        known, self._known = self._known, {run_id: found.get(run_id) for run_id in waited}
        for run_id, stand in self._known.items():
            if run_id not in known or known[run_id] != stand:
                self._notices.heard(Topic.EVENTS, run_id)
            if stand is None or not stand.status.is_active:
                self._notices.heard(Topic.STOPPED, run_id)
