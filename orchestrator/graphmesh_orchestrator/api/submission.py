"""Submitting a run: what is checked before it is stored (A3, A4, B1)."""

from collections.abc import Callable
from dataclasses import replace

from graphmesh_chassis.errors import FieldViolation, NotFound

from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.errors import InvalidInput
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.dispatcher import Receivers
from graphmesh_orchestrator.worker.executor import Executor


class Submission:
    """The door through which runs come."""

    def __init__(self, graphs: Registry, executor: Executor, receivers: Receivers, waits: Callable[[], None]) -> None:
        """`waits` is told of each run that was added and not begun."""
        self._graphs, self._executor, self._receivers, self._waits = graphs, executor, receivers, waits

    async def add(self, wanted: Run) -> Run:
        """Check a run, store it, and where it can be, begin it.

        Raises:
            GraphNotFound: there is no such graph.
            InvalidInput: the input does not fit; or there is none, and no state to go on from.
            NotFound: the thread has no such checkpoint.
            WebhookNotAllowed: the host of the webhook_url may not be called.
            GraphmeshError: as SqlRuns.add.
        """
        graph = self._graphs.get(wanted.graph)
        if wanted.webhook_url:
            self._receivers.require(wanted.webhook_url)
        await _check(graph, wanted)
        run = await self._executor.add(replace(wanted, **graph.versions.of_run()))
        if not run.holds_thread or not run.epoch:
            self._waits()
        return run


async def _check(graph: Graph, wanted: Run) -> None:
    if wanted.input is not None:
        graph.check_input(wanted.input)
    if wanted.input is None or wanted.checkpoint_id:
        await _check_beginning(graph, wanted)


async def _check_beginning(graph: Graph, wanted: Run) -> None:
    """Whether the thread has what the run is to begin from."""
    place = {"thread_id": saver_thread(wanted.tenant, wanted.thread_id)}
    if wanted.checkpoint_id:
        place["checkpoint_id"] = wanted.checkpoint_id
    state = await graph.compiled.aget_state({"configurable": place})
    if state.created_at is not None:
        return
    if wanted.checkpoint_id:
        raise NotFound(resource="checkpoint", id=wanted.checkpoint_id)
    raise InvalidInput(violations=[FieldViolation("input", "is required on a thread without a state")])
