"""Creates runs: checks them, stores them, and begins them where there is capacity."""

import time
from collections.abc import Callable
from dataclasses import replace

from graphmesh_chassis.calls import find_current_call

from graphmesh_orchestrator.checkpoints import NewThread
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.runs.trace import new_trace

Begin = Callable[[Run, float, NewThread | None], None]
"""Executes a run that this process holds; see `Executor.begin`."""


class Submission:
    """The use case of CreateRun."""

    def __init__(
        self, runs: Runs, requests: RunRequests, in_flight: InFlight, notifier: Notifier, begin: Begin
    ) -> None:
        self._runs, self._requests = runs, requests
        self._in_flight, self._notifier, self._begin = in_flight, notifier, begin

    async def create(self, requested: Run, assistant: str = "") -> Run:
        """Check a run and store it. Where it can begin and there is capacity, this process executes it.

        It is claimed in the transaction that stores it, so that no other process begins it. `assistant` is the id or
        the name of the assistant that configures it; empty where it names a graph.

        Raises:
            GraphmeshError: as `RunRequests.accepted` and `Runs.add`.
        """
        checked = _traced(await self._requests.accepted(requested, assistant))
        begun = time.monotonic()
        claimant = self._in_flight.claimant(checked.identity.graph, checked.identity.tenant)
        run = await self._runs.add(checked, claimant)
        if run.run_id == requested.run_id and run.status is RunStatus.RUNNING:
            self._begin(run, begun, NewThread() if run.identity.created_thread else None)
        if not run.state.holds_thread or not run.state.epoch:
            self._notifier.to_claim()
        return run


def _traced(run: Run) -> Run:
    """Return a run with its place in the trace of the present call."""
    call = find_current_call()
    trace = new_trace(call.headers) if call else ""
    return replace(run, request=replace(run.request, trace=trace)) if trace else run
