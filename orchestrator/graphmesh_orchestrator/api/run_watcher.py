"""Follows runs: their events, and their ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass

from graphmesh_chassis.calls import working
from graphmesh_chassis.errors import FieldViolation, InvalidInput, NotFound
from graphmesh_chassis.large_values import read_places

from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier, Topic
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import EventPage, Run, StreamMode
from graphmesh_orchestrator.runs.runs import Runs

PAGE = 200
"""The most batches of events that are read at a time."""
FIRST_PAGE = 32
"""Batches that are read first: of big ones, the sizes of all are read for the few that fit into a page."""


HEARTBEAT_SECONDS = 15.0
"""The default for the most time without a message of a stream."""


@dataclass(frozen=True)
class Heartbeat:
    """A sign that a stream is alive, which is no event."""

    seq: int
    """All events up to it have been yielded, or are not of the modes."""


Elements = Sequence[bytes]
"""Events, each as an element of `StreamRunResponse.events`."""


class RunWatcher:
    """Waits for changes of runs and reads them. Every method raises NotFound, also for another tenant's run."""

    def __init__(self, runs: Runs, in_flight: InFlight, notifier: Notifier) -> None:
        self._runs, self._in_flight, self._notifier = runs, in_flight, notifier

    async def stopped(self, tenant: str, run_id: str) -> Run:
        """Return the run as soon as it has ended or parked."""
        if ended := await self._in_flight.ended(tenant, run_id):
            return ended
        while True:
            notification = self._notifier.subscribe(Topic.STOPPED, run_id)
            async with read_places("ends"), working():
                run = await self._runs.get(tenant, run_id)
            if not run.status.is_active:
                return run
            await self._notifier.wait(notification)

    async def events(
        self,
        tenant: str,
        run_id: str,
        after_seq: int,
        modes: Collection[StreamMode] = (),
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> AsyncGenerator[Elements | Heartbeat]:
        """Yield the events after `after_seq`, as they are read, until the run ends or parks, and heartbeats meanwhile.

        Args:
            modes: only events of these modes, and those of the status; empty: all. The run itself is read once.
            heartbeat: the most seconds between two of what is yielded.

        Raises:
            InvalidInput: the run was created without one of the modes.
        """
        async with working():
            kinds = _kinds(modes, run_id, await self._runs.modes(tenant, run_id))
        last = time.monotonic()
        while True:
            notification, limit = self._notifier.subscribe(Topic.EVENTS, run_id), FIRST_PAGE
            while True:
                page = await self._page(run_id, after_seq, limit)
                if page.progress is None:
                    raise NotFound(resource="run", id=run_id)
                if chosen := [element for batch in page.batches for element in batch.of_kinds(kinds)]:
                    yield chosen
                    last = time.monotonic()
                if page.batches:
                    after_seq, limit = page.batches[-1].last_seq, min(PAGE, 2 * len(page.batches))
                if not page.batches or after_seq >= page.progress.last_seq:
                    break
            if not page.progress.status.is_active:
                return
            while not await self._is_notified(notification, last + heartbeat):
                yield Heartbeat(after_seq)
                last = time.monotonic()

    async def _is_notified(self, notification: asyncio.Event, until: float) -> bool:
        """Wait for a notification. Returns False if there is none `until` that time. Raises ShuttingDown."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._notifier.wait(notification)
        except TimeoutError:
            return False
        return True

    async def _page(self, run_id: str, after_seq: int, limit: int) -> EventPage:
        async with working():
            return await self._runs.events(run_id, after_seq, limit)


def _kinds(modes: Collection[StreamMode], run_id: str, of_run: Collection[StreamMode]) -> frozenset[EventKind]:
    """Return the kinds of events of the modes; none for all. Raises InvalidInput for modes that the run lacks."""
    lacking = [
        FieldViolation(f"stream_modes[{number}]", f"the run was not created with {mode}")
        for number, mode in enumerate(modes)
        if mode not in of_run
    ]
    if lacking:
        raise InvalidInput(violations=lacking, run=run_id)
    return frozenset({EventKind.STATUS}.union(*(mode.kinds for mode in modes))) if modes else frozenset()
