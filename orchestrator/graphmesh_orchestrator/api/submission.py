"""Creates runs: checks them, stores them, and begins them where there is capacity."""

import time
from collections.abc import Callable
from typing import Any

from graphmesh_chassis.errors import FieldViolation, InvalidInput, NotFound
from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_contracts.keys import checkpoint_thread
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.checkpoints import NewThread
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.webhooks.receivers import Receivers

Begin = Callable[[Run, float, NewThread | None], None]
"""Executes a run that this process holds; see `Executor.begin`."""


class Submission:
    """The use case of CreateRun."""

    def __init__(
        self,
        runs: Runs,
        registry: Registry,
        receivers: Receivers,
        in_flight: InFlight,
        notifier: Notifier,
        begin: Begin,
    ) -> None:
        self._runs, self._registry, self._receivers = runs, registry, receivers
        self._in_flight, self._notifier, self._begin = in_flight, notifier, begin

    async def create(self, requested: Run) -> Run:
        """Check a run and store it. Where it can begin and there is capacity, this process executes it.

        It is claimed in the transaction that stores it, so that no other process begins it.

        Raises:
            GraphNotFound: there is no such graph.
            InvalidInput: the input or the context does not fit; or there is no input, and no state to continue from.
            NotFound: the thread has no such checkpoint.
            WebhookNotAllowed: the host of the webhook_url may not be called.
            GraphmeshError: as `Runs.add`.
        """
        graph = self._registry.get(requested.identity.graph)
        if requested.request.webhook_url:
            self._receivers.require(requested.request.webhook_url)
        await _check(graph, requested)
        begun = time.monotonic()
        claimant = self._in_flight.claimant(graph.name)
        run = await self._runs.add(requested.with_state(**graph.versions.of_run()), claimant)
        if run.run_id == requested.run_id and run.status is RunStatus.RUNNING:
            self._begin(run, begun, NewThread() if run.identity.created_thread else None)
        if not run.state.holds_thread or not run.state.epoch:
            self._notifier.to_claim()
        return run


async def _check(graph: Graph, requested: Run) -> None:
    graph.check_context(requested.request.context, requested.request.configurable)
    graph.check_breakpoints(requested.request.breakpoints or {})
    if requested.request.input is not None:
        await _check_input(graph, requested, requested.request.input)
    if requested.request.input is None or requested.request.checkpoint_id:
        await _check_checkpoint(graph, requested)


async def _check_input(graph: Graph, requested: Run, value: dict[str, Any]) -> None:
    """Raises InvalidInput. What the input lacks, the state of its thread may have: it is read only then."""
    try:
        await convert_aside(is_large(value), graph.check_input, value, {})
    except InvalidInput:
        if requested.identity.created_thread:
            raise
        stored = (await _state(graph, requested)).values
        await convert_aside(is_large(value), graph.check_input, value, stored)


async def _check_checkpoint(graph: Graph, requested: Run) -> None:
    """Raises NotFound or InvalidInput where the thread lacks the state that the run is to begin from."""
    if (await _state(graph, requested)).created_at is not None:
        return
    if checkpoint_id := requested.request.checkpoint_id:
        raise NotFound(resource="checkpoint", id=checkpoint_id)
    raise InvalidInput(violations=[FieldViolation("input", "is required on a thread without a state")])


async def _state(graph: Graph, requested: Run) -> StateSnapshot:
    """Return the state that a run is to begin from, which is empty if there is none."""
    identity, checkpoint_id = requested.identity, requested.request.checkpoint_id
    configurable: dict[str, Any] = {"thread_id": checkpoint_thread(identity.tenant, identity.thread_id)}
    if checkpoint_id:
        configurable["checkpoint_id"] = checkpoint_id
    return await graph.compiled.aget_state({"configurable": configurable})
