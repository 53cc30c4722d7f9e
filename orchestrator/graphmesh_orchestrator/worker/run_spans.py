"""The spans of runs: a run, its attempts, and what it has waited for between them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import structlog
from google.rpc import error_details_pb2, status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import DependencyError
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.spans import Attributes, Finished
from graphmesh_contracts import value_of
from graphmesh_nodes.approval_terms import ApprovalTerms

from graphmesh_orchestrator.interrupts.interrupts import Interrupts
from graphmesh_orchestrator.leases.in_flight import ActiveRun
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.runs.trace import RunTrace

log = structlog.get_logger("graphmesh.runs")

Execute = Callable[[ActiveRun], Awaitable[None]]
Keep = Callable[[Run, RunTrace], None]
"""Decides whether the trace of a run that was not sampled is written after its end."""


class RunSpans:
    """Writes the spans of the runs that this process executes, where their traces are sampled.

    The ids of attempts are derived, so that every process can state them. The span of the run itself is written once,
    by the worker that has ended it.
    """

    def __init__(self, runs: Runs, interrupts: Interrupts, worker: str, ratio: float, keep: Keep) -> None:
        """
        Args:
            ratio: the share of runs without a trace of their creation, as of schedules, that are sampled.
        """
        self._runs, self._interrupts, self._worker, self._ratio, self._keep = runs, interrupts, worker, ratio, keep
        self._writing: set[asyncio.Task[None]] = set()

    async def attempt(self, active: ActiveRun, execute: Execute) -> None:
        """Execute a run within the span of this attempt, in the trace of the run."""
        if not spans.is_recording():
            return await execute(active)
        run = active.run
        trace = RunTrace.of(run, self._ratio)
        with spans.joined(trace.traceparent):
            if trace.is_sampled:
                await self._sampled(active, execute, trace)
            else:
                await execute(active)
        if active.ended is not None:
            self._end(active.ended, trace)
        return None

    async def _sampled(self, active: ActiveRun, execute: Execute, trace: RunTrace) -> None:
        run, claimed = active.run, time.time_ns()
        if run.state.epoch <= 1:
            _emit(first_gaps(run, trace, trace.traceparent, claimed))
        else:
            writing = asyncio.create_task(self._write_gaps(run, trace, claimed), name=f"spans of {run.run_id}")
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        attributes = {**identity(run), names.EPOCH: run.state.epoch, names.WORKER: self._worker}
        own = attempt_id(trace.traceparent, run, run.state.epoch)
        with spans.span("attempt", attributes=attributes, own=own, parent=trace.traceparent) as attempt:
            await execute(active)
            attempt.set({names.END: active.left_as})
            if reason := active.failure or (reason_of(active.ended) if active.ended else ""):
                attempt.fail(reason)

    def _end(self, run: Run, trace: RunTrace) -> None:
        if trace.is_sampled:
            spans.emit(run_span(run, trace, trace.traceparent, time.time_ns()))
        else:
            self._keep(run, trace)

    async def _write_gaps(self, run: Run, trace: RunTrace, claimed: int) -> None:
        """Write what the run has waited for since it was parked, or left by its worker."""
        try:
            with spans.joined(""):  # its statements are none of the run's
                last = await self._last_event(run)
                answered = await self._interrupts.last_answered(run.run_id)
        except DependencyError as error:
            log.warning("gap without a span", run=run.run_id, reason=error.reason)
        else:
            _emit(later_gaps(run, trace.traceparent, last, answered, claimed) if last else [])

    async def _last_event(self, run: Run) -> pb.RunEvent | None:
        page = await self._runs.events(run.run_id, run.accounting.last_seq - 1, 1)
        if not page.batches:
            return None
        return pb.StreamRunResponse.FromString(page.batches[0].elements[0]).events[0]


def _emit(gaps: Iterable[Finished]) -> None:
    for one in gaps:
        spans.emit(one)


def identity(run: Run) -> dict[str, str | int | float | bool]:
    """Return the attributes that all spans of a run have."""
    return {
        names.RUN: run.run_id,
        names.THREAD: run.identity.thread_id,
        names.TENANT: run.identity.tenant,
        names.GRAPH: run.identity.graph,
        names.GRAPH_VERSION: run.state.graph_version,
    }


def attempt_id(traceparent: str, run: Run, epoch: int) -> str:
    """Return the traceparent of an attempt."""
    return spans.derived(traceparent, run.run_id, "attempt", str(epoch))


def run_span(run: Run, trace: RunTrace, traceparent: str, end: int) -> Finished:
    """Return the span of a run that has ended."""
    usage = run.accounting.usage
    attributes: Attributes = {
        **identity(run),
        names.EPOCH: run.state.epoch,
        names.END: run.status,
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        names.COST: usage.cost / 1e6,
    }
    name = f"run {run.identity.graph}"
    return Finished(name, traceparent, trace.parent, min(trace.begun, end), end, "internal", attributes, reason_of(run))


def first_gaps(run: Run, trace: RunTrace, traceparent: str, claimed: int) -> list[Finished]:
    """Return the spans from the creation of a run to its first attempt."""
    due = max(trace.begun, round(run.request.due * 1e9))
    waited = [] if due == trace.begun else [gap(run, traceparent, "parked", "its time", trace.begun, due, 1)]
    return [*waited, gap(run, traceparent, "queue", "its turn or a worker", due, claimed, 1)]


def later_gaps(
    run: Run, traceparent: str, last: pb.RunEvent, answered: datetime | None, claimed: int
) -> list[Finished]:
    """Return the spans from the last event of an attempt to the next attempt.

    Args:
        run: as the next attempt has claimed it.
        answered: when the last answer was given.
    """
    left, epoch = last.time.ToNanoseconds(), run.state.epoch
    if last.status_changed.status == pb.RunStatus.RUN_STATUS_INTERRUPTED:
        resumed = max(left, round(answered.timestamp() * 1e9)) if answered else claimed
        parked = gap(run, traceparent, "parked", waited_for(last.status_changed), left, min(resumed, claimed), epoch)
        return [parked, gap(run, traceparent, "queue", "a worker", min(resumed, claimed), claimed, epoch)]
    if run.state.takeovers:
        waited = f"a worker, since that of epoch {epoch - 1} has died"
        return [gap(run, traceparent, "takeover", waited, left, claimed, epoch)]
    return [gap(run, traceparent, "queue", "a worker, since another one has stopped", left, claimed, epoch)]


def waited_for(parked: pb.StatusChanged) -> str:
    """Return what a parked run waits for, by the node and the tool, without the question."""
    return ", ".join(map(_question, parked.interrupts)) or "an answer"


def _question(interrupt: pb.Interrupt) -> str:
    if not interrupt.approval_id:
        return f"an answer to {interrupt.node}"
    terms = ApprovalTerms.from_interrupt(value_of(interrupt.value))
    return f"the approval of {terms.tool if terms else interrupt.node}"


def gap(run: Run, traceparent: str, name: str, waited: str, start: int, end: int, epoch: int) -> Finished:
    """Return the span of what a run has waited for before the attempt of an epoch."""
    own = spans.derived(traceparent, run.run_id, name, str(epoch))
    attributes: Attributes = {**identity(run), names.EPOCH: epoch, names.WAITED_FOR: waited}
    return Finished(name, own, traceparent, min(start, end), end, "internal", attributes)


def reason_of(run: Run) -> str:
    """Return the reason of the error that has ended a run; empty where none has."""
    if not run.state.error:
        return ""
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(run.state.error)
    reasons = (info.reason for detail in status.details if detail.Unpack(info))
    return next(reasons, RunStatus(run.status).upper())
