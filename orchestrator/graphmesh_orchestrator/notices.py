"""Waking those who wait: they read the database when something is new there, and do not poll it.

What is said here may get lost, and only costs time: whoever waits looks from time to time by himself.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol
from weakref import WeakValueDictionary

from graphmesh_chassis.errors import ShuttingDown

ELSEWHERE_SECONDS = 1.0
"""How long a waiter trusts that it would be told, where other processes tell nothing."""
CONNECTED_SECONDS = 5.0
"""The same where they do."""


class Topic(StrEnum):
    """What is said of a run."""

    EVENTS = "events"
    """It has new events."""
    CLAIM = "claim"
    """It is there to be claimed."""
    CANCEL = "cancel"
    """It is to be ended."""
    MISSED = "missed"
    """Of any run, something that may not have been heard."""


Listener = Callable[[str], None]
"""Told the id of a run; empty where it may be any."""


class Others(Protocol):
    """The other processes on the same database."""

    @property
    def connected(self) -> bool:
        """Whether they are heard."""

    def announce(self, topic: Topic, run_id: str) -> None:
        """Tell them, soon or not at all. Neither waits nor fails."""


class Nobody:
    """There are no others, or no way to tell them."""

    connected = False

    def announce(self, topic: Topic, run_id: str) -> None:
        """Nobody is told."""


class Notices:
    """Tells who waits for a run in this process, and its worker what there is to do; and the other processes."""

    def __init__(self) -> None:
        self.others: Others = Nobody()
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._listeners: dict[str, list[Listener]] = {
            Topic.EVENTS: [self._wake],
            Topic.MISSED: [self._wake_all],
        }
        self._closed = False

    def on(self, topic: Topic, listener: Listener) -> None:
        """Who is told too from now on, of what is said here and elsewhere."""
        self._listeners.setdefault(topic, []).append(listener)

    def ring(self, run_id: str) -> None:
        """A run has new events."""
        self._say(Topic.EVENTS, run_id)

    def to_claim(self, run_id: str = "") -> None:
        """A run is there for any worker that has room."""
        self._say(Topic.CLAIM, run_id)

    def to_cancel(self, run_id: str) -> None:
        """A run is to be ended; why is in the database."""
        self._say(Topic.CANCEL, run_id)

    def heard(self, topic: str, run_id: str) -> None:
        """Another process has said so; what of is unknown here is not for this one."""
        for listener in self._listeners.get(topic, ()):
            listener(run_id)

    def next(self, run_id: str) -> asyncio.Event:
        """Set at the next ring. Take it before reading, so that nothing falls in between."""
        return self._events.setdefault(run_id, asyncio.Event())

    async def wait(self, notice: asyncio.Event) -> None:
        """Wait for a ring, or for long enough that one may have been lost.

        Raises:
            ShuttingDown: this process stops; another one can be asked.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECTED_SECONDS if self.others.connected else ELSEWHERE_SECONDS):
                await notice.wait()
        if self._closed:
            raise ShuttingDown()

    def close(self) -> None:
        """Send all waiters away."""
        self._closed = True
        for waiting in list(self._events.values()):
            waiting.set()

    def _say(self, topic: Topic, run_id: str) -> None:
        self.heard(topic, run_id)
        self.others.announce(topic, run_id)

    def _wake(self, run_id: str) -> None:
        if waiting := self._events.pop(run_id, None):
            waiting.set()

    def _wake_all(self, _: str) -> None:
        for run_id in list(self._events):
            self._wake(run_id)
        self.heard(Topic.CLAIM, "")
