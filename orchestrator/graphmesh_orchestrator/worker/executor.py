"""Executes runs: each is a task that ends with the run's end, an interrupt, or the loss of its lease."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    Defect,
    DependencyError,
    Fenced,
    GraphmeshError,
    ShuttingDown,
)
from graphmesh_chassis.large_values import Size
from graphmesh_chassis.tenant_turns import work_for
from graphmesh_nodes.budget import Budget, SharedBudget
from graphmesh_nodes.channel import MeshChannel
from graphmesh_nodes.context import Policies, RunContext
from langgraph.errors import GraphDrained, GraphRecursionError

from graphmesh_orchestrator.checkpoints import Commits, NewThread
from graphmesh_orchestrator.db.database_clock import Now, system_time
from graphmesh_orchestrator.errors import RecursionLimit, RunCancelled, RunPoisoned
from graphmesh_orchestrator.leases.in_flight import ActiveRun, InFlight, Work
from graphmesh_orchestrator.leases.leases import MAX_TAKEOVERS, Leases
from graphmesh_orchestrator.notifications.notifier import Notifier, Topic
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.roles import NO_RULES, RoleRules
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import status_changed
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.store.memory import Memory
from graphmesh_orchestrator.worker.abandoned import run_stoppable
from graphmesh_orchestrator.worker.causes import cause_of
from graphmesh_orchestrator.worker.event_bounds import NO_VALUE
from graphmesh_orchestrator.worker.execution import Execution
from graphmesh_orchestrator.worker.failures import END_STATUS, LIMITS, RunDeadlineExceeded, node_failure, serialized
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.node_threads import CURRENT_RUN, NodeThreads
from graphmesh_orchestrator.worker.run_metrics import count_claimed, count_left
from graphmesh_orchestrator.worker.run_spans import RunSpans
from graphmesh_orchestrator.worker.suspension import Suspension

log = structlog.get_logger("graphmesh.runs")


@dataclass(frozen=True)
class Bounds:
    """The bounds of executions."""

    stop_seconds: float = 3.0
    """How long a graph that is cancelled may take to stop."""
    store_seconds: float = 5.0
    """How long runs that are cut off at shutdown may take to store their last events."""
    max_takeovers: int = MAX_TAKEOVERS
    """Takeovers of a run in a row, without a new checkpoint, that are executed."""


DEFAULT_BOUNDS = Bounds()


async def no_shared_budget(tenant: str) -> SharedBudget | None:
    """Return None: the runs of a tenant share no budget."""
    return None


@dataclass(frozen=True)
class Tools:
    """How executions reach tool services."""

    channel: MeshChannel
    policies: Policies
    roles: RoleRules = NO_RULES

    def context(self, execution: Execution, deadline: Deadline) -> RunContext:
        """Return the context of a run's nodes."""
        run = execution.run
        return RunContext(
            self.channel,
            run.identity.tenant,
            run.identity.subject,
            run.run_id,
            deadline,
            self.policies,
            budget=execution.budget,
            epoch=run.state.epoch,
            continues_thread=run.request.input is None,
            artifacts=execution.graph.artifacts(execution.config),
            is_durable=execution.graph.is_durable,
            recorder=execution.journal,
            decided=execution.decided,
            lease=execution,
            require_tool=partial(self._require_tool, execution),
            caller_scopes=partial(self.roles.scopes, run.identity.roles),
            roles=partial(self.roles.names, run.identity.roles),
            client=run.identity.client,
        )

    def _require_tool(self, execution: Execution, tool: str) -> None:
        """Raises ToolNotAllowed where the graph does not declare the tool, or the caller's roles do not have it."""
        if execution.graph.declaration:
            execution.graph.declaration.require_tool(tool)
        self.roles.require_tool(execution.run.identity.roles, tool)


class Executor:
    """Executes runs in this process, under leases."""

    def __init__(
        self,
        in_flight: InFlight,
        registry: Registry,
        tools: Tools,
        commits: Commits,
        suspension: Suspension,
        memory: Memory,
        leases: Leases,
        notifier: Notifier,
        threads: NodeThreads,
        thread_freed: Callable[[], None],
        spans: RunSpans,
        bounds: Bounds = DEFAULT_BOUNDS,
        now: Now = system_time,
        shows_causes: bool = False,
        shared_budget: Callable[[str], Awaitable[SharedBudget | None]] = no_shared_budget,
    ) -> None:
        """
        Args:
            shared_budget: returns what the runs of a tenant share.
            threads: where the synchronous nodes of runs are executed.
            spans: writes the spans of runs.
            thread_freed: called when a run has ended or parked.
            shows_causes: add the traceback of the graph's own code to the error of a run, for its clients.
        """
        self._in_flight, self._registry, self._tools = in_flight, registry, tools
        self._commits, self._suspension, self._memory, self._leases = commits, suspension, memory, leases
        self._notifier, self._threads, self._thread_freed, self._bounds = notifier, threads, thread_freed, bounds
        self._spans, self._now, self._shows_causes, self._shared_budget = spans, now, shows_causes, shared_budget

    def begin(self, run: Run, claim_begun: float, new_thread: NewThread | None = None) -> None:
        """Execute a run that this worker holds: from its input, or from its own last checkpoint.

        Args:
            claim_begun: the time of the monotonic clock when the run's claim was begun.
            new_thread: given where the thread was created with the run.
        """
        lease = self._in_flight.lease(claim_begun)
        active = ActiveRun(run, run.state.cancel_reason, lease, new_thread, is_pending=True)
        self._in_flight.add(active)
        count_claimed(active, self._now())
        active.task = asyncio.create_task(self._spans.attempt(active, self._execute), name=f"run {run.run_id}")
        active.task.add_done_callback(lambda _: self._on_done(active))

    async def drain(self, seconds: float) -> None:
        """Let every run stop at the end of its superstep, or cut it off after `seconds`, and release its lease.

        While the database is unavailable, events since the last checkpoint are lost.
        """
        if tasks := self._in_flight.drain():
            await asyncio.wait(tasks, timeout=seconds)
        if left := self._in_flight.drain():  # with runs whose creation was under way
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=self._bounds.stop_seconds + self._bounds.store_seconds)
        with contextlib.suppress(DependencyError):  # the leases expire
            await self._leases.release(self._in_flight.drained)
        self._notifier.to_claim()
        self._notifier.close()

    def _on_done(self, active: ActiveRun) -> None:
        count_left(active)
        was_full = self._in_flight.remove(active)
        self._notifier.receive(Topic.STOPPED, active.run.run_id)
        if was_full:
            self._notifier.receive(Topic.CLAIM, "")  # runs may wait for the capacity
        self._thread_freed()

    async def _execute(self, active: ActiveRun) -> None:
        CURRENT_RUN.set(_execution_id(active))
        work_for(active.run.identity.tenant)
        set_current(None)  # the run outlives the call that created it, and so the call's deadline
        shared = await self._shared_budget(active.run.identity.tenant)
        active.is_pending = False
        graph, started = self._registry.get(active.run.identity.graph), active.run.state.started or self._now()
        run = active.run.with_state(started=started, **graph.versions.of_run())
        limits, drain = graph.limits_of(run.request.limits), active.control.request_drain
        budget = Budget(limits, run.accounting.usage, drain, shared)
        try:
            async with Journal(self._commits, self._notifier, run, budget, self._now) as journal:
                active.takeovers = lambda: journal.takeovers
                journal.add_event(status_changed(RunStatus.RUNNING, epoch=run.state.epoch))
                await self._run_to_end(Execution(run, active, graph, journal, budget))
            active.ended, active.left_as = journal.ended, journal.status
        except Fenced:
            log.warning("fenced", run=run.run_id, epoch=run.state.epoch)
            self._in_flight.fenced(active)
            active.failure = Fenced.reason
        except ShuttingDown:
            log.warning("cut off", run=run.run_id, epoch=run.state.epoch)
            active.failure = ShuttingDown.reason
        except Exception as error:
            active.failure = "END_NOT_STORED"
            log.error("end of a run not stored", run=run.run_id, epoch=run.state.epoch, exc_info=error)

    async def _run_to_end(self, execution: Execution) -> None:
        """Run the graph, and end the run with its error, if it has one."""
        active, takeovers = execution.active, execution.run.state.takeovers
        try:
            if active.cancel_reason:
                raise RunCancelled(cause=active.cancel_reason)
            if takeovers > self._bounds.max_takeovers:
                raise RunPoisoned(run=execution.run.run_id, takeovers=takeovers)
            self._tools.roles.require_graph(execution.run.identity.roles, execution.run.identity.graph)
            await self._stream(execution)
            await self._stop(execution)
        except Fenced:
            raise
        except GraphmeshError as error:
            self._end_with(error, execution, *await _output_so_far(error, execution))
        except asyncio.CancelledError:
            if not active.cancel_reason:
                raise
            self._end_with(RunCancelled(cause=active.cancel_reason), execution)
        except Exception as error:
            self._end_with(node_failure(execution.last_node, error), execution)

    async def _stream(self, execution: Execution) -> None:
        """Run the graph until it stops.

        Raises:
            GraphmeshError: the error that ends the run.
        """
        run = execution.run
        deadline = Deadline.after(run.seconds_left(self._now()))
        timeout = deadline.timeout()
        try:
            async with timeout:
                await self._until_stopped(execution, deadline)
        except TimeoutError as error:
            if timeout.expired():
                raise RunDeadlineExceeded(run=run.run_id) from error
            raise node_failure(execution.last_node, error) from error
        except GraphRecursionError as error:
            raise RecursionLimit(limit=run.request.recursion_limit) from error
        except GraphDrained:
            execution.is_drained = True
        except (GraphmeshError, GeneratorExit):
            raise
        except BaseException as error:  # exits as well, which code of a reducer raises in this task
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            raise node_failure(execution.last_node, error) from error
        finally:
            execution.stop()
            if calls := self._threads.end_run(_execution_id(execution.active)):
                self._abandon(execution, calls)

    async def _until_stopped(self, execution: Execution, deadline: Deadline) -> None:
        """Run the graph until it stops. One that is cancelled and does not is abandoned."""
        context = self._tools.context(execution, deadline)
        await run_stoppable(
            execution.stream(context, self._memory.of(execution.run, execution), self._suspension),
            self._bounds.stop_seconds,
            lambda task: self._abandon(execution, [task]),
        )

    def _end_with(
        self,
        error: GraphmeshError,
        execution: Execution,
        output: dict[str, Any] | None = None,
        size: Size = NO_VALUE,
    ) -> None:
        cause, run = cause_of(error, self._registry.packages) if self._shows_causes else None, execution.run
        fields: dict[str, Any] = {"cause": [*cause.stack_entries, cause.detail]} if cause else {}
        if isinstance(error, Defect):
            fields["exc_info"] = error
        log.warning("run ended", run=run.run_id, graph=run.identity.graph, reason=error.reason, **fields)
        status = next((status for kind, status in END_STATUS.items() if isinstance(error, kind)), RunStatus.ERROR)
        execution.journal.end(status, output=output, error=serialized(error, cause), size=size)

    def _abandon(self, execution: Execution, work: Sequence[Work]) -> None:
        self._in_flight.abandon(work)
        log.error(
            "execution abandoned",
            run=execution.run.run_id,
            graph=execution.run.identity.graph,
            nodes=execution.running_nodes,
            abandoned=self._in_flight.abandoned,
        )

    async def _stop(self, execution: Execution) -> None:
        """Park or end a run whose graph has stopped: ended, interrupted, drained, or out of budget.

        Raises:
            GraphmeshError: the exhausted budget, or the reason for which an entry cannot be stored.
        """
        parked = (
            await self._suspension.interrupts_of(execution.run, execution.graph, execution.config)
            if execution.is_interrupted
            else None
        )
        if parked:
            execution.journal.park(*parked)
        elif not execution.is_drained:
            output, size = await execution.output()
            execution.journal.end(RunStatus.SUCCESS, output=output, size=size)
        elif error := execution.budget.error:
            raise error
        else:
            log.info("drained", run=execution.run.run_id)
        await _flush(execution)


async def _output_so_far(error: GraphmeshError, execution: Execution) -> tuple[dict[str, Any] | None, Size]:
    """Return the output that a run has when a limit ends it; None where it has none, or it ends for another reason."""
    if isinstance(error, LIMITS):
        with contextlib.suppress(GraphmeshError):
            return await execution.output_so_far()
    return None, NO_VALUE


async def _flush(execution: Execution) -> None:
    """Wait until all entries of the run are stored, its end included."""
    try:
        await execution.journal.flush()
    except GraphmeshError:
        raise
    except Exception as error:
        raise node_failure(execution.last_node, error) from error


def _execution_id(active: ActiveRun) -> str:
    """A run may be executed again by this process while something of its last execution still runs."""
    return f"{active.run.run_id}/{active.run.state.epoch}"


def _is_cancelled() -> bool:
    """Whether this task is cancelled, and its code has not raised CancelledError of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
