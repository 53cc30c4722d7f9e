"""Waking those who wait: they read the database when something is new there, and do not poll it.

What is said here may get lost, and only costs time: for all who wait, `looking.py` looks from time to time.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol
from weakref import WeakValueDictionary

from graphmesh_chassis.errors import ShuttingDown


class Topic(StrEnum):
    """What is said of a run."""

    EVENTS = "events"
    """It has new events."""
    STOPPED = "stopped"
    """It has ended or parked."""
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


_Waiters = WeakValueDictionary[str, asyncio.Event]


class Notices:
    """Tells who waits for a run in this process, and its worker what there is to do; and the other processes."""

    def __init__(self) -> None:
        self.others: Others = Nobody()
        self._waiters: dict[Topic, _Waiters] = {
            Topic.EVENTS: WeakValueDictionary(),
            Topic.STOPPED: WeakValueDictionary(),
        }
        self._listeners: dict[str, list[Listener]] = {
            Topic.EVENTS: [lambda run_id: self._wake(Topic.EVENTS, run_id)],
            Topic.STOPPED: [lambda run_id: self._wake(Topic.STOPPED, run_id)],
            Topic.MISSED: [self._wake_all],
        }
        self._closed = False

    def on(self, topic: Topic, listener: Listener) -> None:
        """Who is told too from now on, of what is said here and elsewhere."""
        self._listeners.setdefault(topic, []).append(listener)

    def ring(self, run_id: str, stopped: bool) -> None:
        """A run has new events, and may have ended or parked with them."""
        self._say(Topic.EVENTS, run_id)
        if stopped:
            self._say(Topic.STOPPED, run_id)

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

    def next(self, topic: Topic, run_id: str) -> asyncio.Event:
        """Set when that is said of the run. Take it before reading, so that nothing falls in between."""
        return self._waiters[topic].setdefault(run_id, asyncio.Event())

    async def wait(self, notice: asyncio.Event) -> None:
        """Wait for what is to be said.

        Raises:
            ShuttingDown: this process stops; another one can be asked.
        """
        await notice.wait()
        if self._closed:
            raise ShuttingDown()

    @property
    def waited_for(self) -> set[str]:
        """The runs that somebody waits for."""
        return {run_id for waiters in self._waiters.values() for run_id in list(waiters)}

    def close(self) -> None:
        """Send all waiters away."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiting in list(waiters.values()):
                waiting.set()

    def _say(self, topic: Topic, run_id: str) -> None:
        self.heard(topic, run_id)
        self.others.announce(topic, run_id)

    def _wake(self, topic: Topic, run_id: str) -> None:
        if waiting := self._waiters[topic].pop(run_id, None):
            waiting.set()

    def _wake_all(self, _: str) -> None:
        for topic, waiters in self._waiters.items():
            for run_id in list(waiters):
                self._wake(topic, run_id)
        self.heard(Topic.CLAIM, "")
