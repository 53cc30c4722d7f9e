"""How a new run is admitted to its thread."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask, Run


def admitted(run: Run, before: Sequence[Run], worker: str) -> Run:
    """Return a new run as it is stored: running, pending on its thread, or waiting for its time or its turn.

    A run that waits for its turn is created after those before it, also where the clock of this process is behind.

    Args:
        before: the runs that hold the thread, or wait for it and could begin by now, the oldest first.
        worker: the worker that begins the run at once; empty: any worker may claim it.

    Raises:
        ThreadBusy: the thread is busy, and the run's strategy is to be rejected.
    """
    if run.request.is_delayed:
        return run
    if before and run.request.multitask is Multitask.REJECT:
        raise ThreadBusy(thread=run.identity.thread_id, run=before[0].run_id)
    if before:
        latest = max(other.request.created for other in before)
        created = max(run.request.created, latest + timedelta(microseconds=1))
        return replace(run, request=replace(run.request, created=created))
    if not worker:
        return run.with_state(holds_thread=True)
    return run.with_state(holds_thread=True, status=RunStatus.RUNNING, epoch=run.state.epoch.next())


def preemption_reason(run_id: str) -> str:
    """Return the reason with which a run cancels those before it on its thread."""
    return f"the run {run_id} on the same thread takes its place"
