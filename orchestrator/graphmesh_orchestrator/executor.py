"""Executing runs: the graph's stream becomes the run's events, its end the run's status."""

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded, Defect, DependencyError, Fenced, GraphmeshError
from graphmesh_chassis.status import to_status
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl
from langgraph.types import Command, StateSnapshot, StreamMode

from graphmesh_orchestrator.ceilings import Meter
from graphmesh_orchestrator.checkpoints import CLAIM, Claim, GroupCommit
from graphmesh_orchestrator.context import Policies, RunContext
from graphmesh_orchestrator.errors import NodeFailed, RecursionLimit, RunCancelled
from graphmesh_orchestrator.graphs import Graph, Registry
from graphmesh_orchestrator.journal import Journal
from graphmesh_orchestrator.leases import Worker
from graphmesh_orchestrator.leases_sql import SqlLeases
from graphmesh_orchestrator.notices import Notices, Topic
from graphmesh_orchestrator.parking import Parking, saver_thread
from graphmesh_orchestrator.plain import plain
from graphmesh_orchestrator.remote import ToolCall
from graphmesh_orchestrator.runs import EventKind, Run, RunStatus
from graphmesh_orchestrator.runs_sql import SqlRuns

log = structlog.get_logger("graphmesh.runs")

STREAM_MODES: Sequence[StreamMode] = ["tasks", "custom", "messages", "values"]
RUN_METADATA = "graphmesh_run"
"""The checkpoint metadata that tells which run wrote a checkpoint."""


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
            self.begin(run)
        return run

    def begin(self, run: Run) -> None:
        """Execute a run that this worker holds, from where it stands: its input, or its own last checkpoint."""
        self.lost(run.run_id, run.epoch - 1)
        executing = _Executing(run, RunControl(), run.cancel_reason)
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
        """Let every run stop at the end of its superstep, or cut it off after `seconds`, and release it (C4)."""
        self._draining = True
        held, tasks = self.held, [executing.task for executing in self._executing.values()]
        for executing in self._executing.values():
            executing.control.request_drain()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(DependencyError):  # not released, they are taken when their leases have run out
            await self._leases.release(held)
        self._notices.to_claim()
        self._notices.close()

    def _forget(self, executing: "_Executing") -> None:
        """It has ended. Another execution of the same run may have taken its place."""
        was_full = self.room == 0
        if self._executing.get(executing.run.run_id) is executing:
            del self._executing[executing.run.run_id]
        if was_full:
            self._notices.heard(Topic.CLAIM, "")  # one may wait for just this place
        self._thread_is_free()

    async def _execute(self, executing: "_Executing") -> None:
        set_current(None)  # the run outlives the call that created it, and so its deadline
        run = replace(executing.run, started=executing.run.started or datetime.now(UTC))
        meter = Meter(run.ceilings, run.usage, executing.control.request_drain)
        try:
            async with Journal(self._commits, self._notices, run, meter) as journal:
                journal.add(EventKind.STATUS, data={"status": RunStatus.RUNNING, "epoch": run.epoch})
                await self._to_its_end(run, _Execution(run, journal, executing.control, meter), executing)
        except Fenced:
            log.warning("fenced", run=run.run_id, epoch=run.epoch)

    async def _to_its_end(self, run: Run, execution: "_Execution", executing: "_Executing") -> None:
        try:
            executing.require_wanted()
            await self._stream(run, execution)
            await self._stopped(run, execution)
        except Fenced:
            raise
        except GraphmeshError as error:
            _end_with(error, run, execution.journal)
        except asyncio.CancelledError:
            if not executing.cancel_reason:
                raise
            _end_with(RunCancelled(cause=executing.cancel_reason), run, execution.journal)

    async def _stopped(self, run: Run, execution: "_Execution") -> None:
        """The graph has stopped by itself: it has ended, asks something, was drained, or has reached a ceiling.

        Raises:
            GraphmeshError: the ceiling.
        """
        graph = self._graphs.get(run.graph)
        asked, rows = await self._parking.asked(run, graph, execution.config) if execution.asks else ((), ())
        if asked:
            execution.journal.park(asked, rows)
        elif not execution.drained:
            execution.journal.end(RunStatus.SUCCESS, output=execution.output)
        elif error := execution.meter.error:
            raise error
        else:
            log.info("drained", run=run.run_id)

    async def _stream(self, run: Run, execution: "_Execution") -> None:
        """Run the graph until it stops.

        Raises:
            GraphmeshError: how the run failed.
        """
        graph = self._graphs.get(run.graph)
        deadline = Deadline.after(max(0.0, (run.deadline - datetime.now(UTC)).total_seconds()))
        context = RunContext(
            self._channel,
            run.tenant,
            run.subject,
            run.run_id,
            deadline,
            self._policies,
            meter=execution.meter,
            epoch=run.epoch,
            artifacts=graph.artifacts(execution.config),
        )
        timeout = deadline.timeout()
        try:
            async with timeout:
                await execution.follow(graph, context, self._parking)
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


def _end_with(error: GraphmeshError, run: Run, journal: Journal) -> None:
    cause = error if isinstance(error, Defect) else None
    log.warning("run ended", run=run.run_id, graph=run.graph, reason=error.reason, exc_info=cause)
    status = next((status for kind, status in ENDS.items() if isinstance(error, kind)), RunStatus.ERROR)
    journal.end(status, error=to_status(error).SerializeToString())


@dataclass
class _Executing:
    """A run under way in this process."""

    run: Run
    control: RunControl
    cancel_reason: str = ""
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


class _Execution:
    """One execution of a run: what its stream has said so far."""

    def __init__(self, run: Run, journal: Journal, control: RunControl, meter: Meter) -> None:
        self._run, self._control = run, control
        self.journal, self.meter = journal, meter
        self._began: dict[str, float] = {}
        self.output: dict[str, Any] | None = None
        self.asks = False
        """Whether a node asked something."""
        self.drained = False
        self.last_node = ""

    @property
    def config(self) -> RunnableConfig:
        """Where the run is: on its thread, at the newest checkpoint."""
        return {
            "configurable": {
                "thread_id": saver_thread(self._run.tenant, self._run.thread_id),
                CLAIM: Claim(self._run.run_id, self._run.epoch),
            },
            "recursion_limit": self._run.recursion_limit,
            "metadata": {RUN_METADATA: self._run.run_id},
            "run_name": self._run.graph,
        }

    async def follow(self, graph: Graph, context: RunContext, parking: "Parking") -> None:
        """Run the graph and write down what it streams."""
        config, given = await self._begin(graph, parking)
        if self.asks:
            return
        compiled = graph.compiled
        stream: Any = compiled.astream(
            given,
            config,
            context=context,
            stream_mode=STREAM_MODES,
            output_keys=compiled.output_channels,
            control=self._control,
            durability="sync",  # the write-ahead rule: see remote.py
        )
        async with contextlib.aclosing(stream) as parts:
            async for mode, part in parts:
                getattr(self, f"_on_{mode}")(part)

    async def _begin(self, graph: Graph, parking: "Parking") -> tuple[RunnableConfig, Any]:
        """Where the graph is to begin, and what it is given."""
        config = self.config
        if self._run.epoch > 1:
            state = await graph.compiled.aget_state(config)
            if (state.metadata or {}).get(RUN_METADATA) == self._run.run_id:
                return config, await self._resumed(state, parking)
        await parking.take_back(self._run)
        if self._run.checkpoint_id:
            config["configurable"]["checkpoint_id"] = self._run.checkpoint_id
        return config, self._run.input

    async def _resumed(self, state: StateSnapshot, parking: "Parking") -> Command[Any] | None:
        """What a graph is given that goes on: the answers to what it asked; nothing, where it asked nothing.

        Where it has nothing left to do but wait for answers, it still `asks`.
        """
        if not state.interrupts:
            return None
        answers = await parking.answers(self._run)
        known = {asked.id: answers[asked.id] for asked in state.interrupts if asked.id in answers}
        unfinished = [task for task in state.tasks if task.result is None]
        self.asks = len(known) < len(state.interrupts) and all(task.interrupts for task in unfinished)
        return Command(resume=known) if known else None

    def _on_tasks(self, task: dict[str, Any]) -> None:
        if "triggers" in task:
            self._began[task["id"]] = time.monotonic()
            self.meter.begin_step()
            self.last_node = task["name"]
            self.journal.add(EventKind.NODE_STARTED, task["name"], {"triggers": list(task["triggers"])})
            return
        if task.get("error"):
            self.last_node = task["name"]
            return
        if task.get("interrupts"):
            self.asks = True
            return
        seconds = time.monotonic() - self._began.pop(task["id"], time.monotonic())
        data = {"update": plain(task.get("result") or {}), "seconds": seconds}
        self.journal.add(EventKind.NODE_FINISHED, task["name"], data)

    def _on_custom(self, part: Any) -> None:
        if not isinstance(part, ToolCall):
            self.journal.add(EventKind.CUSTOM, data=part if isinstance(part, dict) else {"value": plain(part)})
            return
        error = base64.b64encode(to_status(part.error).SerializeToString()).decode() if part.error else None
        data = {
            "tool": part.tool,
            "effect_key": part.effect_key,
            "attempts": part.attempts,
            "seconds": part.seconds,
            "error": error,
            "may_have_happened": part.error is None or part.error.may_have_happened,
        }
        self.journal.add(EventKind.TOOL_CALLED, part.node, data)

    def _on_messages(self, part: tuple[Any, dict[str, Any]]) -> None:
        message, details = part
        if text := message.text:
            self.journal.add_text(str(details.get("langgraph_node", "")), str(text))

    def _on_values(self, values: Any) -> None:
        self.output = plain(values)
