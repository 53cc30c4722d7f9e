"""The journal of an execution: stores the run's events in order, with its checkpoints, and then announces them."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from graphmesh_nodes.budget import Budget

from graphmesh_orchestrator.checkpoints import Commits, Entry, RunEpoch, WriteBehind
from graphmesh_orchestrator.db.rows import DeliveryRow, InterruptRow, RunUpdate
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import event_row
from graphmesh_orchestrator.runs.run import Accounting, Event, EventKind, Interrupt, Run
from graphmesh_orchestrator.webhooks.deliveries import delivery_row
from graphmesh_orchestrator.webhooks.receivers import announcement


class Journal(WriteBehind):
    """The write-behind buffer of one execution, with the run's events, of which it is the only writer.

    Events are stored with the checkpoints that are buffered by then, or some milliseconds later, and then announced.
    Where a checkpoint cannot be stored, the events are stored without it, except for the end of the run, which did not
    happen then.
    """

    def __init__(self, commits: Commits, notifier: Notifier, run: Run, budget: Budget) -> None:
        super().__init__(commits, RunEpoch(run.run_id, run.state.epoch))
        self._notifier, self._run, self._budget = notifier, run, budget
        self._last_seq = run.accounting.last_seq
        self._events: list[Event] = []
        self._being_stored = 0
        """The number of events that are being stored."""
        self._interrupts: Sequence[InterruptRow] = ()
        self._deliveries: Sequence[DeliveryRow] = ()
        self._before_stop: Run | None = None
        """The run as it was before it ended or parked; None while it continues."""
        self._stored = run

    @property
    def is_deferrable(self) -> bool:
        return super().is_deferrable and self._before_stop is None

    @property
    def is_empty(self) -> bool:
        return super().is_empty and not self._events

    @property
    def ended(self) -> Run | None:
        """The run as it is stored with its end, when the context has been left; None where it has not ended."""
        return self._stored if self._stored.status.is_final else None

    def take(self) -> Entry:
        buffered, self._being_stored = super().take(), len(self._events)
        self._stored = replace(self._run, accounting=Accounting(self._last_seq, self._budget.usage))
        entry = progress_entry(self._stored, self._events)
        return replace(
            entry,
            checkpoints=buffered.checkpoints,
            writes=buffered.writes,
            artifacts=buffered.artifacts,
            interrupts=self._interrupts,
            deliveries=self._deliveries,
        )

    def on_stored(self) -> None:
        del self._events[: self._being_stored]
        self._being_stored = 0
        self._notifier.run_changed(self._run.run_id, stopped=not self._stored.status.is_active)

    def on_refused(self) -> None:
        """Take the end of the run back, if it has one: it must not be stored without what led to it."""
        self._being_stored = 0
        if self._before_stop:
            self._stored = self._run = self._before_stop
            self._before_stop, self._interrupts, self._deliveries = None, (), ()
            self._events.pop()
            self._last_seq -= 1
        self._woken.set()

    def add_event(self, kind: EventKind, node: str = "", data: dict[str, Any] | None = None) -> None:
        self._last_seq += 1
        self._events.append(Event(self._last_seq, datetime.now(UTC), kind, node, data or {}))
        self._woken.set()

    def add_text(self, node: str, text: str) -> None:
        """Add text of a model to the last event, if that is text of the same node and not being stored yet."""
        last = self._events[-1] if len(self._events) > self._being_stored else None
        if last is None or last.kind is not EventKind.TEXT or last.node != node:
            self.add_event(EventKind.TEXT, node, {"text": text})
            return
        self._events[-1] = replace(last, data={"text": last.data["text"] + text})

    def end(self, status: RunStatus, output: dict[str, Any] | None = None, error: bytes | None = None) -> None:
        """Add the run's last event, release its thread, and add the delivery of its webhook."""
        data = {"status": status, "error": base64.b64encode(error).decode() if error else None}
        now = datetime.now(UTC)
        ended = self._run.with_state(status=status, output=output, error=error, ended=now, holds_thread=False)
        deliveries = [delivery_row(announcement(ended))] if ended.request.webhook_url else []
        self._stop(ended, data, deliveries=deliveries)

    def park(self, interrupts: Sequence[Interrupt], rows: Sequence[InterruptRow]) -> None:
        """Add the event of the interrupts and their rows: a parked run consists of rows and nothing else."""
        data = {"status": RunStatus.INTERRUPTED, "interrupts": [asdict(interrupt) for interrupt in interrupts]}
        parked = self._run.with_state(status=RunStatus.INTERRUPTED, parked=datetime.now(UTC))
        self._stop(parked, data, interrupts=rows)

    def _stop(
        self,
        run: Run,
        data: dict[str, Any],
        interrupts: Sequence[InterruptRow] = (),
        deliveries: Sequence[DeliveryRow] = (),
    ) -> None:
        """The first stop holds: it may be stored already."""
        if self._before_stop is None:
            self._before_stop, self._run = self._run, run
            self._interrupts, self._deliveries = interrupts, deliveries
            self.add_event(EventKind.STATUS, data=data)
            self._request_store()
            self._commits.wake()


def progress_entry(run: Run, events: Sequence[Event]) -> Entry:
    """Return the entry of events, and of the run as it is after them."""
    state, accounting = run.state, run.accounting
    update: RunUpdate = {
        "status": state.status,
        "output": state.output,
        "error": state.error,
        "started": state.started,
        "ended": state.ended,
        "parked": state.parked,
        "holds_thread": state.holds_thread,
        "graph_version": state.graph_version,
        "versions": state.versions,
        "last_seq": accounting.last_seq,
        "usage": asdict(accounting.usage),
    }
    return Entry(
        RunEpoch(run.run_id, state.epoch),
        events=[event_row(run.run_id, event) for event in events],
        run=update,
    )
