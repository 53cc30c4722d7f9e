"""Executing runs: the graph's stream becomes the run's events, its end the run's status."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import (
    DeadlineExceeded,
    Defect,
    DependencyError,
    Fenced,
    GraphmeshError,
    ShuttingDown,
)
from graphmesh_chassis.status import to_status
from graphmesh_nodes.budget import Meter
from graphmesh_nodes.context import Policies, RunContext
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl

from graphmesh_orchestrator.checkpoints import Blank, GroupCommit
from graphmesh_orchestrator.errors import NodeFailed, RecursionLimit, RunCancelled
from graphmesh_orchestrator.leases.heartbeat import Worker
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.notifications.notifier import Notices, Topic
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.runs.run import EventKind, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.execution import Execution
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.suspension import Parking

log = structlog.get_logger("graphmesh.runs")


STORE_SECONDS = 5.0
"""How long runs that were cut off have for storing their last events."""


class Executor:
    """Executes runs in this process, each as a task of its own, under leases."""

    def __init__(
        self,
        worker: Worker,
        runs: SqlRuns,
        commits: GroupCommit,
        leases: SqlLeases,
        graphs: Registry,
        channel: Channel,
        policies: Policies,
        notices: Notices,
        parking: Parking,
        thread_is_free: Callable[[], None],
    ) -> None:
        """`thread_is_free` is called when a run has ended or parked."""
        self._worker, self._runs, self._commits = worker, runs, commits
        self._leases, self._graphs = leases, graphs
        self._channel, self._policies, self._notices = channel, policies, notices
        self._parking, self._thread_is_free = parking, thread_is_free
        self._executing: dict[str, _Executing] = {}
        self._draining = False

    @property
    def room(self) -> int:
        """How many more runs this process takes."""
        return 0 if self._draining else self._worker.capacity - len(self._executing)

    async def ended(self, tenant: str, run_id: str) -> Run | None:
        """Wait until this process executes a run of the tenant no more, if it does.

        Returns the run as it is stored; None where it has not ended, or is another process's by now.
        """
        executing = self._executing.get(run_id)
        if executing is None or executing.run.tenant != tenant:
            return None
        await asyncio.wait({executing.task})
        return executing.ended

    @property
    def held(self) -> dict[str, int]:
        """The epochs of the runs that this process executes."""
        return {run_id: executing.run.epoch for run_id, executing in list(self._executing.items())}

    async def add(self, wanted: Run) -> Run:
        """Store a run, and where it can begin and there is room claim it in the same transaction and begin it.

        Raises as SqlRuns.add.
        """
        run = await self._runs.add(wanted, self._worker.name if self.room > 0 else "")
        if run.run_id == wanted.run_id and run.status is RunStatus.RUNNING:
            self.begin(run, Blank() if run.made_its_thread else None)
        return run

    def begin(self, run: Run, blank: Blank | None = None) -> None:
        """Execute a run that this worker holds, from where it stands: its input, or its own last checkpoint. Or on a
        `blank` thread, which has just been made for it."""
        self.lost(run.run_id, run.epoch - 1)
        executing = _Executing(run, RunControl(), run.cancel_reason, blank)
        executing.task = asyncio.create_task(self._execute(executing), name=f"run {run.run_id}")
        self._executing[run.run_id] = executing
        executing.task.add_done_callback(lambda _: self._forget(executing))

    def cancel(self, run_id: str, reason: str) -> None:
        """End a run, where this process executes it. What it has under way is cancelled, down to the databases (D7)."""
        executing = self._executing.get(run_id)
        if executing and not executing.cancel_reason:
            executing.cancel_reason = reason
            executing.task.cancel()

    def lost(self, run_id: str, epoch: int) -> None:
        """Stop executing a run in an epoch that is over, also where this worker itself, paused past its lease, has
        claimed its own run again: the execution of the next epoch goes on."""
        executing = self._executing.get(run_id)
        if executing and executing.run.epoch <= epoch:
            log.warning("lease lost", run=run_id, epoch=executing.run.epoch)
            executing.task.cancel()

    async def drain(self, seconds: float) -> None:
        """Let every run stop at the end of its superstep, or cut it off after `seconds`, and release it (C4).

        Where the database is away, what the runs have reached since their last checkpoint stays unsaid.
        """
        self._draining = True
        held, tasks = self.held, [executing.task for executing in self._executing.values()]
        for executing in self._executing.values():
            executing.control.request_drain()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STORE_SECONDS)
        with contextlib.suppress(DependencyError):  # not released, they are taken when their leases have run out
            await self._leases.release(held)
        self._notices.to_claim()
        self._notices.close()

    def _forget(self, executing: "_Executing") -> None:
        """It has ended. Another execution of the same run may have taken its place."""
        was_full = self.room == 0
        if self._executing.get(executing.run.run_id) is executing:
            del self._executing[executing.run.run_id]
        self._notices.heard(Topic.STOPPED, executing.run.run_id)
        if was_full:
            self._notices.heard(Topic.CLAIM, "")  # one may wait for just this place
        self._thread_is_free()

    async def _execute(self, executing: "_Executing") -> None:
        set_current(None)  # the run outlives the call that created it, and so its deadline
        graph, started = self._graphs.get(executing.run.graph), executing.run.started or datetime.now(UTC)
        run = replace(executing.run, started=started, **graph.versions.of_run())
        meter = Meter(run.ceilings, run.usage, executing.control.request_drain)
        try:
            async with Journal(self._commits, self._notices, run, meter) as journal:
                journal.add(EventKind.STATUS, data={"status": RunStatus.RUNNING, "epoch": run.epoch})
                await self._to_its_end(
                    Execution(run, graph, journal, executing.control, meter, executing.blank), executing
                )
            executing.ended = journal.ended
        except Fenced:
            log.warning("fenced", run=run.run_id, epoch=run.epoch)
        except ShuttingDown:
            log.warning("cut off", run=run.run_id, epoch=run.epoch)

    async def _to_its_end(self, execution: Execution, executing: "_Executing") -> None:
        try:
            executing.require_wanted()
            await self._stream(execution)
            await self._stopped(execution)
        except Fenced:
            raise
        except GraphmeshError as error:
            _end_with(error, execution)
        except asyncio.CancelledError:
            if not executing.cancel_reason:
                raise
            _end_with(RunCancelled(cause=executing.cancel_reason), execution)

    async def _stopped(self, execution: Execution) -> None:
        """The graph has stopped by itself: it has ended, asks something, was drained, or has reached a ceiling.

        Raises:
            GraphmeshError: the ceiling, or why what it has written cannot be stored.
        """
        asked, rows = (
            await self._parking.asked(execution.run, execution.graph, execution.config) if execution.asks else ((), ())
        )
        if asked:
            execution.journal.park(asked, rows)
        elif not execution.drained:
            execution.journal.end(RunStatus.SUCCESS, output=execution.output)
        elif error := execution.meter.error:
            raise error
        else:
            log.info("drained", run=execution.run.run_id)
        await _settled(execution)

    async def _stream(self, execution: Execution) -> None:
        """Run the graph until it stops.

        Raises:
            GraphmeshError: how the run failed.
        """
        run = execution.run
        deadline = Deadline.after(max(0.0, (run.deadline - datetime.now(UTC)).total_seconds()))
        timeout = deadline.timeout()
        try:
            async with timeout:
                await execution.follow(self._context(execution, deadline), self._parking)
        except TimeoutError as error:
            if timeout.expired():
                raise RunDeadlineExceeded(run=run.run_id) from error
            raise NodeFailed(node=execution.last_node, type="TimeoutError") from error
        except GraphRecursionError as error:
            raise RecursionLimit(limit=run.recursion_limit) from error
        except GraphDrained:
            execution.drained = True
        except GraphmeshError:
            raise
        except Exception as error:
            raise NodeFailed(node=execution.last_node, type=type(error).__name__) from error

    def _context(self, execution: Execution, deadline: Deadline) -> RunContext:
        run = execution.run
        return RunContext(
            self._channel,
            run.tenant,
            run.subject,
            run.run_id,
            deadline,
            self._policies,
            meter=execution.meter,
            epoch=Epoch(run.epoch),
            goes_on=run.input is None,
            artifacts=execution.graph.artifacts(execution.config),
            is_durable=execution.graph.is_durable,
        )


async def _settled(execution: Execution) -> None:
    """Wait until all that the run has written is stored, its end with it."""
    try:
        await execution.journal.settled()
    except GraphmeshError:
        raise
    except Exception as error:
        raise NodeFailed(node=execution.last_node, type=type(error).__name__) from error


def _end_with(error: GraphmeshError, execution: Execution) -> None:
    cause, run = error if isinstance(error, Defect) else None, execution.run
    log.warning("run ended", run=run.run_id, graph=run.graph, reason=error.reason, exc_info=cause)
    status = next((status for kind, status in ENDS.items() if isinstance(error, kind)), RunStatus.ERROR)
    execution.journal.end(status, error=to_status(error).SerializeToString())


@dataclass
class _Executing:
    """A run under way in this process."""

    run: Run
    control: RunControl
    cancel_reason: str = ""
    blank: Blank | None = None
    ended: Run | None = None
    """As it is stored, with its end."""
    task: asyncio.Task[None] = field(init=False)

    def require_wanted(self) -> None:
        """Raises RunCancelled where it was to be ended before it began."""
        if self.cancel_reason:
            raise RunCancelled(cause=self.cancel_reason)


class RunDeadlineExceeded(DeadlineExceeded):
    """The time for the run {run} is over"""


ENDS: Mapping[type[GraphmeshError], RunStatus] = {
    RunDeadlineExceeded: RunStatus.TIMEOUT,
    RunCancelled: RunStatus.CANCELLED,
}
"""The errors that end a run with a status of their own."""
