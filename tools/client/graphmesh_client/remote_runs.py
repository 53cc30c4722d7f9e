"""Runs of one graph for calls of LangGraph: one run is begun or found again, answered, and followed to its end."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from graphmesh.orchestrator.v1 import Interrupt, Run, RunStatus, RunView
from graphmesh_contracts import struct_value, value_of
from graphmesh_contracts.keys import is_breakpoint
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, interrupt
from pydantic_core import to_jsonable_python

from graphmesh_client.client import Client, RunOptions
from graphmesh_client.invocation import Invocation
from graphmesh_client.langgraph_convert import INTERRUPT, StreamPart, langgraph_interrupt, stream_parts
from graphmesh_client.outcome import output_of
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_client.stream_modes import STREAM_MODES

OUTPUT = "output"
"""The mode of the last part, which is the output of the run."""
BY_DEFAULT = frozenset({"updates", "custom"})
"""The modes that every run has, unless its options state others."""


class RemoteRuns:
    """The runs of one graph."""

    def __init__(self, client: Client, graph: str, options: RunOptions) -> None:
        self._client, self._graph, self._options = client, graph, options
        self._schemas: tuple[dict[str, Any], dict[str, Any]] | None = None

    async def follow(
        self, input: Any, invocation: Invocation, modes: Collection[str] = (), own: RunOptions | None = None
    ) -> AsyncGenerator[StreamPart, None]:
        """Begin a run, or find it again, and follow it until it ends or parks. The last part has the mode `OUTPUT`.

        The run of a task streams updates, custom events and text, and in the other modes that the stream of the program
        has when the task is first executed: later the run is found again by its request.

        Args:
            own: options of this run alone.

        Raises:
            RunFailed: the run failed.
            GraphmeshError: a call of the mesh failed.
            GraphInterrupt: the invocation is a task, and its run waits for an answer.
            NotImplementedError: the program streams in a mode that runs do not have.
        """
        has_values = False
        run, seq = await self._begin(input, invocation, self._options_with(modes, own or {}, invocation))
        while phase_of(run.status) is RunPhase.ACTIVE or seq < run.last_seq:
            async with aclosing(self._client.stream_run(run.run_id, seq)) as events:
                async for event in events:
                    seq = event.seq
                    if invocation.is_task and phase_of(event.status_changed.status) is RunPhase.PARKED:
                        await self._answer_from_program(run.run_id, event.status_changed.interrupts)
                        continue
                    for part in stream_parts(event):
                        has_values |= part[:2] == ((), "values")
                        yield invocation.forward(part)
            run = await self._client.get_run(run.run_id)
        output = await self._output(run, invocation)
        if not has_values:
            invocation.forward(((), "values", output))
        yield (), OUTPUT, output

    def _options_with(self, modes: Collection[str], own: RunOptions, invocation: Invocation) -> RunOptions:
        """Return the options of the run, with its modes where the default has not all of them."""
        options: RunOptions = {**self._options, **own}
        if invocation.configurable:
            options["configurable"] = {**options.get("configurable", {}), **invocation.configurable}
        named = _modes_of_task(invocation.program_modes) if invocation.is_task else {*modes}
        if not BY_DEFAULT.issuperset(named):
            numbers = {STREAM_MODES[mode] for mode in named} | {*options.get("stream_modes", ())}
            options["stream_modes"] = sorted(numbers)
        return options

    async def _begin(self, input: Any, invocation: Invocation, options: RunOptions) -> tuple[Run, int]:
        """Return the run, and the number of its last event before this call."""
        if isinstance(input, Command):
            return await self._resume(input, invocation.thread_id)
        if input is None and invocation.continues_thread and (parked := await self._parked(invocation.thread_id)):
            return await self._passed(parked), parked.last_seq
        graph_input = await self._graph_input(input, invocation)
        await invocation.flush_checkpoints()
        run = await self._client.create_run(
            self._graph,
            graph_input,
            thread_id=invocation.thread_id,
            checkpoint_id=invocation.checkpoint_id,
            request_id=invocation.request_id,
            **options,
        )
        return run, 0

    async def _graph_input(self, state: Any, invocation: Invocation) -> dict[str, Any] | None:
        """Return the state as JSON; for a task, only the fields of the graph's input schema."""
        plain: dict[str, Any] | None = to_jsonable_python(state)
        if plain is None or not invocation.is_task:
            return plain
        input_schema, _ = await self._graph_schemas()
        return _known_fields(plain, input_schema)

    async def _graph_schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON schemas of the graph's input and output; empty where the graph is not known any more."""
        if self._schemas is None:
            graphs = {graph.name: graph for graph in await self._client.list_graphs()}
            name = self._graph or (await self._client.assistants.get(self._options.get("assistant", ""))).graph
            found = graphs.get(name)
            self._schemas = (struct_value(found.input_schema), struct_value(found.output_schema)) if found else ({}, {})
        return self._schemas

    async def _resume(self, command: Command[Any], thread_id: str) -> tuple[Run, int]:
        """Answer the run that is parked on a thread."""
        reject_unsupported("Command with update or goto", (command.update, command.goto))
        run = await self._parked(thread_id) if thread_id else None
        if run is None:
            raise ValueError(f"no run of {self._graph} waits for an answer on the thread {thread_id or '(none)'}")
        answers = _answers_by_id(command.resume, [one.interrupt_id for one in run.interrupts])
        return await self._client.resume_run(run.run_id, answers), run.last_seq

    async def _parked(self, thread_id: str) -> Run | None:
        """Return the run that is parked on a thread."""
        status = RunStatus.RUN_STATUS_INTERRUPTED
        runs = await self._client.list_runs(
            graph=self._graph, thread_id=thread_id, status=status, limit=1, view=RunView.RUN_VIEW_FULL
        )
        return runs[0] if runs else None

    async def _passed(self, run: Run) -> Run:
        """Resume a run that is parked at a breakpoint; one that waits for answers still does."""
        answers = {one.interrupt_id: True for one in run.interrupts if is_breakpoint(value_of(one.value))}
        return await self._client.resume_run(run.run_id, answers) if len(answers) == len(run.interrupts) else run

    async def _answer_from_program(self, run_id: str, interrupts: Iterable[Interrupt]) -> None:
        """Interrupt the program with the run's interrupts, and answer the run with its answers.

        A task that is executed again gets here with every interrupt of its run in the same order, and the program has
        stored its answers: the run gets answers again that it has, which changes nothing.
        """
        unanswered = [one for one in interrupts if not one.approval_id]
        answers = {one.interrupt_id: to_jsonable_python(interrupt(value_of(one.value))) for one in unanswered}
        if answers:
            await self._client.resume_run(run_id, answers)

    async def _output(self, run: Run, invocation: Invocation) -> dict[str, Any]:
        """Return the output of a run that succeeded, and the state of one that parked.

        Raises:
            RunFailed: the run failed.
            GraphInterrupt: the invocation is a task, and its run waits for an approval.
        """
        if phase_of(run.status) is not RunPhase.PARKED:
            return output_of(run)
        interrupts = tuple(langgraph_interrupt(one) for one in run.interrupts)
        if invocation.is_task:
            raise GraphInterrupt(interrupts)
        state = await self._client.threads.state(run.thread_id)
        _, schema = await self._graph_schemas()
        is_workflow = bool(schema) and "properties" not in schema  # the state of one is the result of an earlier run
        output = {} if is_workflow else _known_fields(struct_value(state.values), schema)
        return {**output, INTERRUPT: interrupts}


def _modes_of_task(of_program: frozenset[str]) -> set[str]:
    """Return the modes of a run whose events a program streams: the default ones, and those that the program has."""
    further = of_program.difference(BY_DEFAULT)
    reject_unsupported("the stream mode tools", further - STREAM_MODES.keys())
    return {*BY_DEFAULT, *further} if "messages" in further else {*BY_DEFAULT, "text", *further} if further else set()


def _known_fields(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a schema has; all of them where it has none."""
    known = schema.get("properties") or values
    return {key: value for key, value in values.items() if key in known}


def _answers_by_id(answer: Any, interrupt_ids: Sequence[str]) -> dict[str, Any]:
    """Return the answers by interrupt. A single interrupt needs no id."""
    if answer and isinstance(answer, Mapping) and answer.keys() <= set(interrupt_ids):
        return to_jsonable_python(dict(answer))  # type: ignore[no-any-return]
    if len(interrupt_ids) != 1:
        raise ValueError(f"several questions wait; answer them by id: {', '.join(interrupt_ids)}")
    return {interrupt_ids[0]: to_jsonable_python(answer)}


def reject_unsupported(feature: str, values: Iterable[Any]) -> None:
    """Raise NotImplementedError where any of the values is set."""
    if any(values):
        raise NotImplementedError(f"a graph of the mesh does not support {feature}")
