"""One execution of a run: the graph's stream becomes the run's events."""

import contextlib
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.large_values import Size, convert_aside, is_large
from graphmesh_chassis.telemetry.sampling import is_traced
from graphmesh_contracts.keys import WRITE_BEHIND_KEY
from graphmesh_contracts.structs import struct_bytes
from graphmesh_nodes.breakpoints import Breakpoints, breakpoint_of
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.context import RunContext, with_run_context
from graphmesh_nodes.decisions import Decision
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.graph_contexts import configurable_with
from graphmesh_nodes.json_values import JsonEncoder, as_object, to_json
from graphmesh_nodes.model_text import model_text
from graphmesh_nodes.tool_calls import ToolCalled
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_CACHE, CONFIG_KEY_RUNTIME, CONFIG_KEY_STREAM
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamChunk, StreamProtocol
from langgraph.types import Command, StateSnapshot

from graphmesh_orchestrator.checkpoints import NEW_THREAD, RUN_EPOCH, RunEpoch, thread_config
from graphmesh_orchestrator.leases.in_flight import ActiveRun
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.run_requests import check_run
from graphmesh_orchestrator.runs.event_contents import (
    decision_made,
    node_finished,
    node_started,
    one_struct,
    route_not_shown,
)
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run, StreamMode
from graphmesh_orchestrator.runs.server_keys import server_keys
from graphmesh_orchestrator.store.memory import RunMemory
from graphmesh_orchestrator.worker.decision_metrics import count_decision
from graphmesh_orchestrator.worker.event_bounds import NO_VALUE
from graphmesh_orchestrator.worker.failures import node_error, serialized
from graphmesh_orchestrator.worker.graph_stream import GraphStream, Part
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.langgraph_stream import ModelMessages
from graphmesh_orchestrator.worker.mode_events import TOO_MANY, ModeEvents
from graphmesh_orchestrator.worker.node_spans import write_decision
from graphmesh_orchestrator.worker.node_updates import update_of
from graphmesh_orchestrator.worker.suspension import Suspension

STREAMED = {
    StreamMode.CUSTOM: "custom",
    StreamMode.TEXT: "messages",  # of graphs elsewhere, which a node runs
    StreamMode.MESSAGES: "messages",
    StreamMode.VALUES: "values",
    StreamMode.CHECKPOINTS: "checkpoints",
    StreamMode.DEBUG: "debug",
}
"""The modes of LangGraph's stream that events are made of; besides `tasks`, of which each run has some."""
RUN_METADATA = "graphmesh_run"
"""The key in a checkpoint's metadata of the run that wrote it."""


class Execution:
    """Runs a graph and records its stream."""

    def __init__(self, run: Run, active: ActiveRun, graph: Graph, journal: Journal, budget: Budget) -> None:
        self.run, self.active, self.graph, self.journal, self.budget = run, active, graph, journal, budget
        self._published = graph
        self._started: dict[str, tuple[str, float]] = {}
        """The nodes that are executed, and when they were begun, by task."""
        self._names: dict[str, str] = {}
        """The nodes of the tasks of the newest superstep."""
        self._last_writers: dict[str, str] = {}
        """The nodes that wrote last to each channel."""
        self._has_stopped = False
        self._values: Any = None
        """The output channels after the last superstep."""
        self.is_interrupted = False
        """Whether a node waits for an answer."""
        self.is_drained = False
        self.last_node = ""
        self._resumed_from = ""
        self._graph_stream = GraphStream(self._record, journal.is_full)
        journal.on_room = self._graph_stream.wake
        self._modes, self._mode_events = frozenset(run.request.modes), ModeEvents(journal)
        self._breakpoints = Breakpoints()

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
        self._graph_stream.close()

    @property
    def config(self) -> RunnableConfig:
        """The thread of the run at its newest checkpoint; writes go to the journal."""
        identity = self.run.identity
        return {
            "configurable": {
                **configurable_with(self.run.request.context, self.run.request.configurable),
                **server_keys(self.run),
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
            GraphFactoryFailed: the graph has a factory, which failed.
        """
        async with self.graph.of_run(self.run, memory.store) as self.graph:
            self._breakpoints = Breakpoints.of(self.graph.compiled, **(self.run.request.breakpoints or {}))
            with self._located():
                await self._stream(context, memory, suspension)

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        try:
            yield
        except ValueNotStorable as error:
            node = self._names.get(error.task_id) or self._last_writers.get(error.channel)
            error.locate(node=node or self.last_node)
            raise

    async def _stream(self, context: RunContext, memory: RunMemory, suspension: Suspension) -> None:
        config, graph_input = await self._begin(suspension)
        if self.is_interrupted:
            return
        context = context.bound_to(await self._customer(config))
        async with self._graph_stream as stream:
            config["configurable"] |= {
                CONFIG_KEY_RUNTIME: stream.runtime.override(store=memory.store),
                CONFIG_KEY_CACHE: memory.cache_of(self.graph),
                CONFIG_KEY_STREAM: self._protocol(),
            }
            config["callbacks"] = self._message_handlers(stream)
            resumed = replace(context, resumed_from=self._resumed_from)
            await self._run(with_run_context(config, resumed), graph_input)
        if self._breakpoints and not self.is_interrupted:
            self.is_interrupted = bool((await self.graph.compiled.aget_state(self.config)).next)

    async def _customer(self, config: RunnableConfig) -> str:
        """Return the customer of the run; empty where the graph declares none.

        Raises:
            InvalidInput: the run has none, or another one than its thread.
        """
        declared = self.graph.declaration
        if declared is None or not declared.customer:
            return ""
        begun = NEW_THREAD not in config["configurable"]
        state = (await self.graph.compiled.aget_state(config)).values if begun else {}
        return declared.customer_of(self.run.request.input, state)

    def _protocol(self) -> StreamProtocol:
        """Return the stream of the graph and of those within it, which is asked for no mode that has no event."""
        streamed: set[Any] = {STREAMED[mode] for mode in self._modes if mode in STREAMED}
        put = self._put_twice if StreamMode.TASKS in self._modes else self._graph_stream.put
        return StreamProtocol(put, {"tasks", *streamed})

    def _put_twice(self, chunk: StreamChunk) -> None:
        """Two events are made of each task: that of the node, and that of the mode."""
        namespace, mode, value = chunk
        if mode == "tasks":
            self._graph_stream.put((namespace, "task", value))
        self._graph_stream.put(chunk)

    def _message_handlers(self, stream: GraphStream) -> list[Any]:
        handlers: list[Any] = [ModelMessages(stream.put)] if StreamMode.TEXT in self._modes else []
        if StreamMode.MESSAGES in self._modes:
            handlers.append(StreamMessagesHandler(stream.put, subgraphs=True))
        return handlers

    async def output(self) -> tuple[dict[str, Any], Size]:
        """Return the graph's output as JSON, and its size. Raises as `stream`."""
        output, channels = self._values, self.graph.compiled.output_channels
        if isinstance(output, dict) and self._output_keys != channels:
            output = {channel: output[channel] for channel in channels if channel in output}
        with self._located():
            return await convert_aside(is_large(output), lambda: _json_of(as_object(output)))

    async def output_so_far(self) -> tuple[dict[str, Any] | None, Size]:
        """Return the output after the last superstep of this execution; None where there was none. Raises as
        `output`."""
        return (None, NO_VALUE) if self._values is None else await self.output()

    @property
    def _output_keys(self) -> str | Sequence[str]:
        """The channels whose values are streamed: with the mode `values` the whole state, as LangGraph streams it."""
        compiled = self.graph.compiled
        has_fields = not isinstance(compiled.output_channels, str)
        with_state = StreamMode.VALUES in self._modes and has_fields
        return compiled.stream_channels_asis if with_state else compiled.output_channels

    async def _run(self, config: RunnableConfig, graph_input: Any) -> None:
        compiled = self.graph.compiled
        stream: Any = compiled.astream(
            graph_input,
            config,
            context=self.graph.context.of_run(self.run.request.context),
            stream_mode="values",
            output_keys=self._output_keys,
            interrupt_before=self._breakpoints.before,
            interrupt_after=self._breakpoints.after,
            control=self.active.control,
            durability="sync",  # effects wait for their checkpoint: graphmesh_nodes/effects.py
        )
        async with contextlib.aclosing(stream) as values:
            async for self._values in values:
                await self.journal.wait_for_room()

    async def _begin(self, suspension: Suspension) -> tuple[RunnableConfig, Any]:
        """Return the config and the input with which the graph begins or resumes.

        A run that has parked resumes even if it has written no checkpoint: its first node may have been interrupted.

        Raises:
            InvalidInput: the graph has a factory, which has made one that does not take the run.
            NotFound: the checkpoint to begin from was deleted by a rollback after the run was created. LangGraph would
                begin without a state.
        """
        config, request = self.config, self.run.request
        if self.run.state.epoch > 1:
            answers = await suspension.answers(self.run)
            state = await self.graph.compiled.aget_state(config)
            if answers or (state.metadata or {}).get(RUN_METADATA) == self.run.run_id:
                self._resumed_from = state.config["configurable"].get("checkpoint_id", "")
                return config, await self._resume(state, answers)
        await suspension.revert_rolled_back(self.run)
        if not self.graph.has_shape_of(self._published):
            await check_run(self.graph, self.run)
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
        return Command(resume=_resume_value(known, len(state.interrupts))) if known else None

    def _record(self, part: Part) -> Awaitable[None] | None:
        """Add the event of a part to the journal; of a large one when the result, which encodes it, is awaited."""
        match part.mode:
            case "tasks" if "triggers" in part.value:
                self._start_node(part)
            case "tasks":
                return self._end_node(part)
            case "text":
                self._add_text(part)
            case "messages" if StreamMode.MESSAGES not in self._modes:
                self._add_text(part)
            case "custom" if isinstance(part.value, ToolCalled):
                self.journal.add_call(part.value)
            case "decision":
                self._add_decision(part)
            case "custom":
                return self._add_custom(part) if StreamMode.CUSTOM in self._modes else None
            case _:
                return self._mode_events.add(part)
        return None

    def decided(self, decision: Decision) -> None:
        """Record a decision of a node, in any thread."""
        if is_traced():
            write_decision(decision)
        self._graph_stream.decide(decision)

    def _add_decision(self, part: Part) -> None:
        decision: Decision = part.value
        count_decision(self.run.identity.graph, decision)
        content = decision_made(decision) if not part.is_left_out else route_not_shown(decision, TOO_MANY)
        self.journal.add_event(content, decision.node, Size(0, len(content.encoded)), decision.namespace)

    def _start_node(self, part: Part) -> None:
        name, task_id = part.value["name"], part.value["id"]
        if not self._started:
            self._names.clear()
        self._names[task_id] = name
        self._started[task_id] = (name, time.monotonic())
        self.budget.begin_step()
        self.last_node = name
        triggers = list(part.value["triggers"])
        content = node_started(triggers if all(map(str.isascii, triggers)) else to_json(triggers))
        self.journal.add_event(content, name, namespace=part.namespace)

    def _end_node(self, part: Part) -> Awaitable[None] | None:
        task = part.value
        _, begun = self._started.pop(task["id"], ("", time.monotonic()))
        if task.get("interrupts"):
            return None if part.namespace else self._park_on(task)
        seconds, result, error = time.monotonic() - begun, task.get("result") or {}, None
        if task.get("error"):
            self.last_node = task["name"]
            error = serialized(node_error(task["name"], task["error"]))
        elif not part.namespace:
            self._last_writers |= dict.fromkeys(result, task["name"])

        def add(update: bytes | None, size: Size) -> None:
            self.journal.add_recorded_calls()
            content = node_finished(seconds, cached=task.get("cached", False), update=update, error=error)
            self.journal.add_event(content, task["name"], size, part.namespace)

        if StreamMode.UPDATES in self._modes and error is None:
            return _encode(update_of(result), task["name"], add)
        add(None, NO_VALUE)
        return None

    def _park_on(self, task: Mapping[str, Any]) -> Awaitable[None] | None:
        """The questions are stored as JSON when the run parks, from a checkpoint that may have changed their texts."""
        self.is_interrupted = True
        values = {"interrupts": [interrupt["value"] for interrupt in task["interrupts"]]}
        return _encode(values, task["name"], lambda *_: None)

    def _add_custom(self, part: Part) -> Awaitable[None] | None:
        def add(struct: bytes, size: Size) -> None:
            self.journal.add_event(one_struct(EventKind.CUSTOM, struct), size=size, namespace=part.namespace)

        value = part.value if isinstance(part.value, dict) else {"value": part.value}
        return _encode(value, self.last_node, add)

    def _add_text(self, part: Part) -> None:
        message, metadata = part.value
        if text := model_text(message, metadata):
            self.journal.add_text(str(metadata.get("langgraph_node", "")), part.namespace, to_json(text))


def _resume_value(answers: Mapping[str, Any], open_interrupts: int) -> Any:
    """Return what LangGraph resumes with: the only answer itself where it can, since the interrupt of a graph without
    checkpoints has another id when it is executed again; else the answers by interrupt."""
    [answer, *others] = answers.values()
    is_ambiguous = others or open_interrupts > 1 or answer is None or isinstance(answer, dict)
    return dict(answers) if is_ambiguous else answer


def _encode(value: Mapping[str, Any], node: str, add: Callable[[bytes, Size], None]) -> Awaitable[None] | None:
    """Pass a value of the graph to `add` as a serialized Struct, with its size.

    At once, or a large one when the result is awaited.

    Raises:
        ValueNotStorable: with the node that wrote it; at once, or when the result is awaited.
    """
    if is_large(value):
        return _encode_aside(value, node, add)
    add(*_struct_of(value, node))
    return None


async def _encode_aside(value: Mapping[str, Any], node: str, add: Callable[[bytes, Size], None]) -> None:
    add(*await convert_aside(True, _struct_of, value, node))


def _struct_of(value: Mapping[str, Any], node: str) -> tuple[bytes, Size]:
    """Return a value of the graph as a serialized Struct, and its size. Raises as `_json_of`."""
    encoded, size = _json_of(value, node)
    return struct_bytes(encoded), size


def _json_of(value: Any, node: str = "") -> tuple[Any, Size]:
    """Return a value of the graph as JSON, and its size. Raises ValueNotStorable, with the node that wrote it."""
    encoder = JsonEncoder()
    try:
        return encoder.to_json(value), encoder.size
    except ValueNotStorable as error:
        error.locate(channel=re.split(r"[.\[]", error.data["key"], maxsplit=1)[0], node=node)
        raise
