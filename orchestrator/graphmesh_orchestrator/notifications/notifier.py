"""Notifications about runs, within a process and between processes.

A notification only wakes readers up, who then read the database. It may be lost: `status_poller.py` polls for what no
notification announced.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol
from weakref import WeakValueDictionary

from graphmesh_chassis.errors import ShuttingDown


class Topic(StrEnum):
    """The subject of a notification about a run. Values travel between processes."""

    EVENTS = "events"
    """The run has new events."""
    STOPPED = "stopped"
    """The run has ended or parked."""
    CLAIM = "claim"
    """The run can be claimed."""
    CANCEL = "cancel"
    """The run is to be ended."""
    SCHEDULES = "schedules"
    """A schedule has changed; of no run."""
    MISSED = "missed"
    """Notifications about any run may have been lost."""


Listener = Callable[[str], None]
"""Called with the id of a run; empty: any run."""


class Bus(Protocol):
    """The way to the other processes on the same database."""

    @property
    def is_connected(self) -> bool:
        """Whether their notifications arrive."""

    def publish(self, topic: Topic, run_id: str) -> None:
        """Notify them soon, or not at all. Neither waits nor fails."""


class NoBus:
    """There are no other processes, or no way to them."""

    is_connected = False

    def publish(self, topic: Topic, run_id: str) -> None:
        """Drop the notification."""


_Waiters = WeakValueDictionary[str, asyncio.Event]


class Notifier:
    """Notifies this process' waiters and worker, and the other processes on the database."""

    def __init__(self, *, is_alone: bool) -> None:
        """`is_alone`: no other process uses the database."""
        self._is_alone = is_alone
        self.bus: Bus = NoBus()
        self._waiters: dict[Topic, _Waiters] = {
            Topic.EVENTS: WeakValueDictionary(),
            Topic.STOPPED: WeakValueDictionary(),
        }
        self._listeners: dict[str, list[Listener]] = {Topic.MISSED: [self._wake_all]}
        self._is_closed = False

    @property
    def is_complete(self) -> bool:
        """Whether the notifications of all processes on the database are received."""
        return self._is_alone or self.bus.is_connected

    def on(self, topic: Topic, listener: Listener) -> None:
        """Call `listener` for each notification of a topic, from this process or another."""
        self._listeners.setdefault(topic, []).append(listener)

    def run_changed(self, run_id: str, *, stopped: bool) -> None:
        """A run has new events, and may have ended or parked with them."""
        self._notify(Topic.EVENTS, run_id)
        if stopped:
            self.run_stopped(run_id)

    def run_stopped(self, run_id: str) -> None:
        """A run has ended or parked."""
        self._notify(Topic.STOPPED, run_id)

    def to_claim(self, run_id: str = "") -> None:
        """A run can be claimed by any worker with capacity."""
        self._notify(Topic.CLAIM, run_id)

    def to_cancel(self, run_id: str) -> None:
        """A run is to be ended; the database has the reason."""
        self._notify(Topic.CANCEL, run_id)

    def schedules_changed(self) -> None:
        """A schedule may have an earlier tick than those before."""
        self._notify(Topic.SCHEDULES, "")

    def receive(self, topic: str, run_id: str) -> None:
        """Deliver a notification within this process. Unknown topics are of newer processes, and are ignored."""
        if topic in self._waiters:
            self._wake(Topic(topic), run_id)
        for listener in self._listeners.get(topic, ()):
            listener(run_id)

    def subscribe(self, topic: Topic, run_id: str) -> asyncio.Event:
        """Return an event that the next notification sets. Subscribe before reading, so that no change is missed."""
        return self._waiters[topic].setdefault(run_id, asyncio.Event())

    async def wait(self, notification: asyncio.Event) -> None:
        """Wait for a notification.

        Raises:
            ShuttingDown: this process stops; clients may ask another one.
        """
        if not self._is_closed:
            await notification.wait()
        if self._is_closed:
            raise ShuttingDown()

    @property
    def awaited_runs(self) -> set[str]:
        """The runs that have waiters in this process."""
        return {run_id for waiters in self._waiters.values() for run_id in list(waiters)}

    def close(self) -> None:
        """Wake all waiters, who then get ShuttingDown."""
        self._is_closed = True
        for waiters in self._waiters.values():
            for event in list(waiters.values()):
                event.set()

    def _notify(self, topic: Topic, run_id: str) -> None:
        self.receive(topic, run_id)
        self.bus.publish(topic, run_id)

    def _wake(self, topic: Topic, run_id: str) -> None:
        if event := self._waiters[topic].pop(run_id, None):
            event.set()

    def _wake_all(self, _: str) -> None:
        for topic, waiters in self._waiters.items():
            for run_id in list(waiters):
                self._wake(topic, run_id)
        self.receive(Topic.CLAIM, "")
