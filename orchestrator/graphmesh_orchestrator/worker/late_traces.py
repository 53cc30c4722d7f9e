"""The decision at the end of a run: a trace that was not sampled is kept whole where the run is worth it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.large_values import convert_aside
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.metrics import counter

from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventBatch
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.runs.trace import RunTrace
from graphmesh_orchestrator.worker.event_spans import EventSpans

log = structlog.get_logger("graphmesh.runs")

MAX_WAITING = 200
"""Runs whose traces are to be written; of further ones they are dropped."""
MAX_OF_TENANT = 50
"""The same of one tenant, so that its failures do not drop the traces of others."""
BATCHES = 100
"""Batches of events that are read at a time."""
MAX_PAGES = 16
"""Pages of events of one run that are read at most, of 2 MiB at most; what follows is left out."""
DROPPED = "DROPPED"
KEPT = counter(
    "graphmesh.traces.kept",
    "{trace}",
    "Traces of runs that were not sampled and are written after the end, by the reason; DROPPED: too many waited",
    (names.REASON,),
)


@dataclass(frozen=True)
class Bounds:
    """What a run may be without its trace being kept."""

    slow_seconds: float = 30
    """From when it could begin to its end; 0: any."""
    cost_usd: float = 1
    """0: any."""

    def reason_to_keep(self, run: Run) -> str:
        """Return why the trace of a run that has ended is kept; empty where it is not."""
        if run.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
            return "FAILED"
        if run.state.epoch > 1:
            return "RESUMED"
        if self.cost_usd and run.accounting.usage.cost > self.cost_usd * 1e6:
            return "COST"
        return "SLOW" if self.slow_seconds and _seconds(run) > self.slow_seconds else ""


def _seconds(run: Run) -> float:
    begun = max(run.request.created.timestamp(), run.request.due)
    return run.state.ended.timestamp() - begun if run.state.ended else 0


class LateTraces:
    """A background task that writes the traces of runs after their ends, from their events."""

    def __init__(self, runs: Runs, bounds: Bounds) -> None:
        self._runs, self._bounds = runs, bounds
        self._waiting: deque[tuple[Run, RunTrace]] = deque()
        self._added = asyncio.Event()

    def keep(self, run: Run, trace: RunTrace) -> None:
        """Write the trace of a run that has ended, where it is worth it."""
        reason = self._bounds.reason_to_keep(run)
        if not reason:
            return
        of_tenant = sum(waiting.identity.tenant == run.identity.tenant for waiting, _ in self._waiting)
        if len(self._waiting) >= MAX_WAITING or of_tenant >= MAX_OF_TENANT:
            reason = DROPPED
        else:
            self._waiting.append((run, trace))
            self._added.set()
        KEPT.add(1, {names.REASON: reason})

    async def run(self) -> None:
        """Write traces, one after the other, until cancelled; then those that still wait are dropped."""
        try:
            while True:
                await self._added.wait()
                self._added.clear()
                while self._waiting:
                    await self._write_next()
        finally:
            if self._waiting:
                KEPT.add(len(self._waiting), {names.REASON: DROPPED})

    async def _write_next(self) -> None:
        run, trace = self._waiting.popleft()
        try:
            await self._write(run, trace)
        except DependencyError as error:
            log.warning("trace not kept", run=run.run_id, reason=error.reason)
        except Exception as error:  # a row that no version of this code has written
            log.error("trace not kept", run=run.run_id, exc_info=error)

    async def _write(self, run: Run, trace: RunTrace) -> None:
        made, after = EventSpans(run, trace), 0
        for _ in range(MAX_PAGES):
            page = await self._runs.events(run.run_id, after, BATCHES)
            if not page.batches:
                break
            await convert_aside(True, _add_all, made, page.batches)
            after = page.batches[-1].last_seq
        made.left_out += max(0, run.accounting.last_seq - after)
        for number, span in enumerate(made.finish()):
            spans.emit(span)
            if number % 100 == 99:
                await asyncio.sleep(0)


def _add_all(made: EventSpans, batches: Sequence[EventBatch]) -> None:
    for batch in batches:
        for element in batch.elements:
            for event in pb.StreamRunResponse.FromString(element).events:
                made.add(event)
