"""A run's events on their way to the database: in order, in batches, and then announced."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from graphmesh_orchestrator.ceilings import Meter
from graphmesh_orchestrator.checkpoints import Claim, Entry, GroupCommit
from graphmesh_orchestrator.deliveries_sql import deliveries, values_of
from graphmesh_orchestrator.interrupts_sql import interrupts
from graphmesh_orchestrator.notices import Notices
from graphmesh_orchestrator.runs import Event, EventKind, Interrupt, Run, RunStatus
from graphmesh_orchestrator.webhooks import announcement


class Journal:
    """The journal of one execution of a run. Nobody else writes the run's events.

    A batch is written while the next one collects, so that many small events cost few transactions. Leaving the context
    writes what is left; leaving it with an exception (the process stops) does too. Where the run has been taken over,
    nothing more is written and the task that opened the journal is cancelled.
    """

    def __init__(self, commits: GroupCommit, notices: Notices, run: Run, meter: Meter) -> None:
        self._commits, self._notices, self._run, self._meter = commits, notices, run, meter
        self._last_seq = run.last_seq
        self._further: dict[sa.Table, Sequence[dict[str, Any]]] = {}
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._closed = False
        self._told = run

    async def __aenter__(self) -> "Journal":
        owner = asyncio.current_task()
        self._writer = asyncio.create_task(self._write(), name=f"journal {self._run.run_id}")
        self._writer.add_done_callback(lambda writer: owner.cancel() if owner and not self._closed else None)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Raises Fenced where the run has been taken over."""
        self._closed = True
        self._wake.set()
        await self._writer

    @property
    def is_patient(self) -> bool:
        return self._run.status.is_active

    @property
    def has_checkpoint(self) -> bool:
        return False

    @property
    def ended(self) -> Run | None:
        """The run with its end, where it has one: as it is stored, when the context has been left."""
        return self._told if self._told.ended else None

    def taken(self) -> Entry:
        batch, self._pending = self._pending, []
        further, self._further = self._further, {}
        self._told = replace(self._run, last_seq=self._last_seq, usage=self._meter.usage)
        return progress(self._told, batch, further)

    def add(self, kind: EventKind, node: str = "", data: dict[str, Any] | None = None) -> None:
        self._last_seq += 1
        self._pending.append(Event(self._last_seq, datetime.now(UTC), kind, node, data or {}))
        self._wake.set()

    def add_text(self, node: str, text: str) -> None:
        """Add text of a model, joined with what the same node has pending."""
        last = self._pending[-1] if self._pending else None
        if last is None or last.kind is not EventKind.TEXT or last.node != node:
            self.add(EventKind.TEXT, node, {"text": text})
            return
        self._pending[-1] = replace(last, data={"text": last.data["text"] + text})

    def end(self, status: RunStatus, output: dict[str, Any] | None = None, error: bytes | None = None) -> None:
        """The run's last event, and the run as it is after it: its thread is free, and who wants to know is told."""
        data = {"status": status, "error": base64.b64encode(error).decode() if error else None}
        ended = replace(self._run, status=status, output=output, error=error, ended=datetime.now(UTC))
        self._run = replace(ended, holds_thread=False)
        if ended.webhook_url:
            self._further[deliveries] = [values_of(announcement(ended))]
        self.add(EventKind.STATUS, data=data)
        self._commits.look()

    def park(self, asked: Sequence[Interrupt], rows: Sequence[dict[str, Any]]) -> None:
        """The run's last event for now, and what it asks: from then on it is rows and nothing else."""
        data = {"status": RunStatus.INTERRUPTED, "interrupts": [asdict(one) for one in asked]}
        self._run = replace(self._run, status=RunStatus.INTERRUPTED, parked=datetime.now(UTC))
        self._further[interrupts] = rows
        self.add(EventKind.STATUS, data=data)
        self._commits.look()

    async def _write(self) -> None:
        while not (self._closed and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            if self._pending:
                await self._commits.store(self)
                self._notices.ring(self._run.run_id, stopped=not self._run.status.is_active)


Rows = Mapping[sa.Table, Sequence[dict[str, Any]]]
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
