"""A run's events on their way to the database: in order, in batches, and then announced."""

import asyncio
import base64
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from graphmesh_chassis.errors import DependencyError

from graphmesh_orchestrator.runs import Event, EventKind, Run, RunStatus
from graphmesh_orchestrator.runs_sql import SqlRuns

log = structlog.get_logger("graphmesh.runs")

RETRY_SECONDS = 1.0
"""Between two tries to reach the database."""


class Notices:
    """Tells waiters in this process that a run has new events. What was missed is in the database."""

    def __init__(self) -> None:
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def ring(self, run_id: str) -> None:
        if waiting := self._events.pop(run_id, None):
            waiting.set()

    def next(self, run_id: str) -> asyncio.Event:
        """Set at the next ring. Take it before reading, so that nothing falls in between."""
        return self._events[run_id]


class Journal:
    """The journal of one execution of a run. Nobody else writes the run's events.

    A batch is written while the next one collects, so that many small events cost few transactions. Leaving the context
    writes what is left; leaving it with an exception (the process stops) does too.
    """

    def __init__(self, runs: SqlRuns, notices: Notices, run: Run) -> None:
        self._runs, self._notices, self._run = runs, notices, run
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> "Journal":
        self._writer = asyncio.create_task(self._write(), name=f"journal {self._run.run_id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        self._wake.set()
        await self._writer

    def add(self, kind: EventKind, node: str = "", data: dict[str, Any] | None = None) -> None:
        self._run = replace(self._run, last_seq=self._run.last_seq + 1)
        self._pending.append(Event(self._run.last_seq, datetime.now(UTC), kind, node, data or {}))
        self._wake.set()

    def add_text(self, node: str, text: str) -> None:
        """Add text of a model, joined with what the same node has pending."""
        last = self._pending[-1] if self._pending else None
        if last is None or last.kind is not EventKind.TEXT or last.node != node:
            self.add(EventKind.TEXT, node, {"text": text})
            return
        self._pending[-1] = replace(last, data={"text": last.data["text"] + text})

    def end(self, status: RunStatus, output: dict[str, Any] | None = None, error: bytes | None = None) -> None:
        """The run's last event, and the run as it is after it."""
        data = {"status": status, "error": base64.b64encode(error).decode() if error else None}
        self._run = replace(self._run, status=status, output=output, error=error, ended=datetime.now(UTC))
        self.add(EventKind.STATUS, data=data)

    async def _write(self) -> None:
        while not (self._closed and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            if batch:
                await self._store(self._run, batch)
                self._notices.ring(self._run.run_id)

    async def _store(self, run: Run, batch: list[Event]) -> None:
        """Store a batch, for as long as the database needs to come back: an event that happened is not given up."""
        while True:
            try:
                return await self._runs.append(run, batch)
            except DependencyError as error:
                log.warning("events wait", run=run.run_id, events=len(batch), reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS)
