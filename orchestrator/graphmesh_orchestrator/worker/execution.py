"""One execution of a run: the graph's stream becomes the run's events."""

import contextlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.large_values import Size, convert_aside, is_large
from graphmesh_contracts.keys import WRITE_BEHIND_KEY
from graphmesh_nodes.breakpoints import Breakpoints, breakpoint_of
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.context import RunContext, with_run_context
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import JsonEncoder, to_json
from graphmesh_nodes.model_text import model_text
from graphmesh_nodes.tool_calls import ToolCalled
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_CACHE, CONFIG_KEY_RUNTIME
from langgraph.types import Command, StateSnapshot, StreamMode

from graphmesh_orchestrator.checkpoints import NEW_THREAD, RUN_EPOCH, RunEpoch, thread_config
from graphmesh_orchestrator.leases.in_flight import ActiveRun
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.runs.run import EventKind, Run
from graphmesh_orchestrator.store.memory import RunMemory
from graphmesh_orchestrator.worker.event_bounds import NO_VALUE
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.node_updates import update_of
from graphmesh_orchestrator.worker.pending_events import CustomEvent, PendingEvents
from graphmesh_orchestrator.worker.suspension import Suspension

STREAM_MODES: Sequence[StreamMode] = ["tasks", "custom", "messages", "values"]
RUN_METADATA = "graphmesh_run"
"""The key in a checkpoint's metadata of the run that wrote it."""


class Execution:
    """Runs a graph and records its stream."""

    def __init__(self, run: Run, active: ActiveRun, graph: Graph, journal: Journal, budget: Budget) -> None:
        self.run, self.active, self.graph, self.journal, self.budget = run, active, graph, journal, budget
        self._started: dict[str, tuple[str, float]] = {}
        """The nodes that are executed, and when they were begun, by task."""
        self._names: dict[str, str] = {}
        """The nodes of the tasks of the newest superstep."""
        self._last_writers: dict[str, str] = {}
        """The nodes that wrote last to each channel."""
        self._has_stopped = False
        self.output: dict[str, Any] | None = None
        self.output_size = NO_VALUE
        self.is_interrupted = False
        """Whether a node waits for an answer."""
        self.is_drained = False
        self.last_node = ""
        self._pending_events = PendingEvents()
        requested = run.request.breakpoints or {}
        self._breakpoints = Breakpoints.of(graph.compiled, **requested)

    @property
    def remaining(self) -> float:
        """See `Lease`. When the graph has stopped, nothing of it may make a call, whatever still runs of it."""
        return -math.inf if self._has_stopped else self.active.lease.remaining

    @property
    def running_nodes(self) -> Sequence[str]:
        """The nodes that were begun, and whose ends have not arrived."""
        return sorted({name for name, _ in self._started.values()})

    def stop(self) -> None:
        """End the calls of the graph: the run is about to end, park, or be released."""
        self._has_stopped = True
        self._pending_events.close()

    @property
    def config(self) -> RunnableConfig:
        """The thread of the run at its newest checkpoint; writes go to the journal."""
        identity = self.run.identity
        return {
            "configurable": {
                **(self.run.request.configurable or {}),
                **thread_config(identity.tenant, identity.thread_id)["configurable"],
                RUN_EPOCH: RunEpoch(identity.run_id, self.run.state.epoch),
                WRITE_BEHIND_KEY: self.journal,
            },
            "recursion_limit": self.run.request.recursion_limit,
            "metadata": {RUN_METADATA: identity.run_id, **self.graph.versions.metadata()},
            "run_name": identity.graph,
        }

    async def stream(self, context: RunContext, memory: RunMemory, suspension: Suspension) -> None:
        """Run the graph until it stops, and add its stream to the journal.

        Raises:
            ValueNotStorable: with the node that wrote the value, where it is known.
        """
        try:
            await self._stream(context, memory, suspension)
        except ValueNotStorable as error:
            node = self._names.get(error.task_id) or self._last_writers.get(error.channel)
            error.locate(node=node or self.last_node)
            raise

    async def _stream(self, context: RunContext, memory: RunMemory, suspension: Suspension) -> None:
        config, graph_input = await self._begin(suspension)
        if self.is_interrupted:
            return
        config["configurable"][CONFIG_KEY_RUNTIME] = self._pending_events.runtime.override(store=memory.store)
        config["configurable"][CONFIG_KEY_CACHE] = memory.cache
        compiled = self.graph.compiled
        stream: Any = compiled.astream(
            graph_input,
            with_run_context(config, context),
            context=self.graph.context.of_run(self.run.request.context),
            stream_mode=STREAM_MODES,
            output_keys=compiled.output_channels,
            interrupt_before=self._breakpoints.before,
            interrupt_after=self._breakpoints.after,
            control=self.active.control,
            durability="sync",  # effects wait for their checkpoint: graphmesh_nodes/effects.py
        )
        async with contextlib.aclosing(stream) as parts:
            async for mode, part in parts:
                await getattr(self, f"_on_{mode}")(part)
                if self.journal.is_full:
                    await self.journal.flush_events()
        if self._breakpoints and not self.is_interrupted:
            self.is_interrupted = bool((await compiled.aget_state(self.config)).next)

    async def _begin(self, suspension: Suspension) -> tuple[RunnableConfig, Any]:
        """Return the config and the input with which the graph begins or resumes.

        A run that has parked resumes even if it has written no checkpoint: its first node may have been interrupted.

        Raises:
            NotFound: the checkpoint to begin from was deleted by a rollback after the run was created. LangGraph would
                begin without a state.
        """
        config, request = self.config, self.run.request
        if self.run.state.epoch > 1:
            answers = await suspension.answers(self.run)
            state = await self.graph.compiled.aget_state(config)
            if answers or (state.metadata or {}).get(RUN_METADATA) == self.run.run_id:
                return config, await self._resume(state, answers)
        await suspension.revert_rolled_back(self.run)
        if request.checkpoint_id:
            config["configurable"]["checkpoint_id"] = request.checkpoint_id
            if (await self.graph.compiled.aget_state(config)).created_at is None:
                raise NotFound(resource="checkpoint", id=request.checkpoint_id)
        if self.active.new_thread:
            config["configurable"][NEW_THREAD] = self.active.new_thread
        return config, None if request.input is None else self.graph.input.by_channel(request.input)

    async def _resume(self, state: StateSnapshot, answers: Mapping[str, Any]) -> Command[Any] | None:
        """Return the input of a graph that resumes: the answers to its interrupts, or None where it has none.

        A graph whose unfinished tasks all wait for answers `is_interrupted` still, and so is one at a breakpoint.
        """
        if not state.interrupts:
            question = breakpoint_of(state)
            if self._breakpoints and question and question.id not in answers:
                self.is_interrupted = await self._breakpoints.stops(self.graph.compiled, state)
            return None
        known = {interrupt.id: answers[interrupt.id] for interrupt in state.interrupts if interrupt.id in answers}
        unfinished = [task for task in state.tasks if task.result is None]
        has_open = len(known) < len(state.interrupts)
        self.is_interrupted = has_open and all(task.interrupts for task in unfinished)
        return Command(resume=known) if known else None

    async def _on_tasks(self, task: dict[str, Any]) -> None:
        if "triggers" in task:
            if not self._started:
                self._names.clear()
            self._names[task["id"]] = task["name"]
            self._started[task["id"]] = (task["name"], time.monotonic())
            self.budget.begin_step()
            self.last_node = task["name"]
            self.journal.add_event(EventKind.NODE_STARTED, task["name"], {"triggers": to_json(list(task["triggers"]))})
            return
        _, begun = self._started.pop(task["id"], ("", time.monotonic()))
        if task.get("error"):
            self.last_node = task["name"]
            return
        if task.get("interrupts"):
            self.is_interrupted = True
            return
        seconds = time.monotonic() - begun
        self._last_writers |= dict.fromkeys(task.get("result") or {}, task["name"])
        update, size = await _encoded(update_of(task.get("result") or {}), task["name"])
        self.journal.add_recorded_calls()
        self.journal.add_event(EventKind.NODE_FINISHED, task["name"], {"update": update, "seconds": seconds}, size)

    async def _on_custom(self, part: CustomEvent | ToolCalled) -> None:
        if isinstance(part, ToolCalled):
            self.journal.add_call(part)
            return
        data, size = await _encoded(part.value, self.last_node)
        is_object = isinstance(part.value, dict)
        self.journal.add_event(EventKind.CUSTOM, data=data if is_object else {"value": data}, size=size)
        self._pending_events.recorded(part)

    async def _on_messages(self, part: tuple[Any, dict[str, Any]]) -> None:
        message, metadata = part
        if text := model_text(message, metadata):
            self.journal.add_text(str(metadata.get("langgraph_node", "")), to_json(text))

    async def _on_values(self, values: Any) -> None:
        self.output, self.output_size = await _encoded(values if isinstance(values, dict) else {"value": values})


async def _encoded(value: Any, node: str = "") -> tuple[Any, Size]:
    """Return a value of the graph as JSON, and its size. Raises ValueNotStorable, with the node that wrote it."""
    encoder = JsonEncoder()
    try:
        return await convert_aside(is_large(value), encoder.to_json, value), encoder.size
    except ValueNotStorable as error:
        error.locate(channel=re.split(r"[.\[]", error.data["key"], maxsplit=1)[0], node=node)
        raise
