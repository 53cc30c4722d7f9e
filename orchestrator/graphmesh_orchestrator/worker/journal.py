"""A run's events on their way to the database: in order, with its checkpoints, and then announced."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_nodes.budget import Meter

from graphmesh_orchestrator.checkpoints import Claim, Entry, GroupCommit, Trail
from graphmesh_orchestrator.interrupts.interrupts_sql import interrupts
from graphmesh_orchestrator.notifications.notifier import Notices
from graphmesh_orchestrator.runs.run import Event, EventKind, Interrupt, Run, RunStatus
from graphmesh_orchestrator.webhooks.deliveries_sql import deliveries, values_of
from graphmesh_orchestrator.webhooks.dispatcher import announcement

Rows = Mapping[sa.Table, Sequence[dict[str, Any]]]


class Journal(Trail):
    """The trail of one execution of a run, with the run's events, which nobody else writes.

    Events are stored with the checkpoints that come by then, or some milliseconds later, and then announced. Where a
    checkpoint cannot be stored, they are stored without it, but for the run's end: it was not said then.
    """

    def __init__(self, commits: GroupCommit, notices: Notices, run: Run, meter: Meter) -> None:
        super().__init__(commits, Claim(run.run_id, run.epoch))
        self._notices, self._run, self._meter = notices, run, meter
        self._last_seq = run.last_seq
        self._events: list[Event] = []
        self._being_stored = 0
        """How many of the events are."""
        self._further: Rows = {}
        self._going_on: Run | None = None
        """The run before its end was said, or that it parks."""
        self._told = run

    @property
    def is_patient(self) -> bool:
        return super().is_patient and self._going_on is None

    @property
    def is_empty(self) -> bool:
        return super().is_empty and not self._events

    @property
    def ended(self) -> Run | None:
        """The run with its end, where it has one: as it is stored, when the context has been left."""
        return self._told if self._told.ended else None

    def taken(self) -> Entry:
        left, self._being_stored = super().taken(), len(self._events)
        self._told = replace(self._run, last_seq=self._last_seq, usage=self._meter.usage)
        said = progress(self._told, self._events, self._further)
        return replace(said, checkpoints=left.checkpoints, writes=left.writes, artifacts=left.artifacts)

    def stored(self) -> None:
        del self._events[: self._being_stored]
        self._being_stored = 0
        self._notices.ring(self._run.run_id, stopped=not self._told.status.is_active)

    def refused(self) -> None:
        self._being_stored = 0
        if self._going_on:
            self._told = self._run = self._going_on
            self._going_on, self._further = None, {}
            self._events.pop()
            self._last_seq -= 1
        self._wake.set()

    def add(self, kind: EventKind, node: str = "", data: dict[str, Any] | None = None) -> None:
        self._last_seq += 1
        self._events.append(Event(self._last_seq, datetime.now(UTC), kind, node, data or {}))
        self._wake.set()

    def add_text(self, node: str, text: str) -> None:
        """Add text of a model, joined with what the same node has said last, if that is not being stored yet."""
        last = self._events[-1] if len(self._events) > self._being_stored else None
        if last is None or last.kind is not EventKind.TEXT or last.node != node:
            self.add(EventKind.TEXT, node, {"text": text})
            return
        self._events[-1] = replace(last, data={"text": last.data["text"] + text})

    def end(self, status: RunStatus, output: dict[str, Any] | None = None, error: bytes | None = None) -> None:
        """The run's last event, and the run as it is after it: its thread is free, and who wants to know is told."""
        data = {"status": status, "error": base64.b64encode(error).decode() if error else None}
        ended = replace(self._run, status=status, output=output, error=error, ended=datetime.now(UTC))
        announced = {deliveries: [values_of(announcement(ended))]} if ended.webhook_url else {}
        self._stop(replace(ended, holds_thread=False), data, announced)

    def park(self, asked: Sequence[Interrupt], rows: Sequence[dict[str, Any]]) -> None:
        """The run's last event for now, and what it asks: from then on it is rows and nothing else."""
        data = {"status": RunStatus.INTERRUPTED, "interrupts": [asdict(one) for one in asked]}
        parked = replace(self._run, status=RunStatus.INTERRUPTED, parked=datetime.now(UTC))
        self._stop(parked, data, {interrupts: rows})

    def _stop(self, run: Run, data: dict[str, Any], further: Rows) -> None:
        """What is said first holds: it may be stored already."""
        if self._going_on is None:
            self._going_on, self._run, self._further = self._run, run, further
            self.add(EventKind.STATUS, data=data)
            self._await_later()
            self._commits.look()


CHANGING = (
    "status",
    "output",
    "error",
    "started",
    "ended",
    "parked",
    "holds_thread",
    "last_seq",
    "graph_version",
    "versions",
)
"""What an execution changes of its run, besides its usage."""


def progress(run: Run, new: Sequence[Event], further: Rows | None = None) -> Entry:
    """Events, and the run as it is after them: stored with the checkpoints that come meanwhile."""
    state = {name: getattr(run, name) for name in CHANGING}
    return Entry(
        Claim(run.run_id, run.epoch),
        events=[{"run_id": run.run_id, **vars(event)} for event in new],
        run={**state, "usage": asdict(run.usage)},
        further=further or {},
    )
