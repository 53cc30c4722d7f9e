"""One run of the mesh for one call of LangGraph: begun or found again, answered, followed to its end."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from graphmesh.orchestrator.v1 import Interrupt, Run, RunStatus
from graphmesh_chassis.status import from_status
from graphmesh_contracts import struct_value, value_of
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, interrupt
from pydantic_core import to_jsonable_python

from graphmesh_client.client import ACTIVE, Client, RunOptions
from graphmesh_client.parts import INTERRUPT, Part, parts_of, question
from graphmesh_client.place import Place

PARKED = RunStatus.RUN_STATUS_INTERRUPTED


class Remote:
    """The runs of one graph."""

    def __init__(self, client: Client, graph: str, options: RunOptions) -> None:
        self._client, self._graph, self._options = client, graph, options
        self._fields: set[str] = set()

    async def follow(self, input: Any, place: Place) -> AsyncGenerator[Part, None]:
        """Begin a run, or find it again, and follow it to its end or to a question."""
        run, seq = await self._begin(input, place)
        while run.status in ACTIVE or seq < run.last_seq:
            async with aclosing(self._client.stream_run(run.run_id, seq)) as events:
                async for event in events:
                    seq = event.seq
                    if place.is_task and event.status_changed.status == PARKED:
                        await self._ask(run.run_id, event.status_changed.interrupts)
                        continue
                    for part in parts_of(event):
                        yield place.heard(part)
            run = await self._client.get_run(run.run_id)
        yield place.heard(("values", await self._outcome(run, place)))

    async def _begin(self, input: Any, place: Place) -> tuple[Run, int]:
        """The run, and its last event before this call."""
        if isinstance(input, Command):
            return await self._resume(input, place.thread_id)
        given = await self._input(input, place)
        await place.stored()
        run = await self._client.create_run(
            self._graph,
            given,
            thread_id=place.thread_id,
            checkpoint_id=place.checkpoint_id,
            request_id=place.request_id,
            **self._options,
        )
        return run, 0

    async def _input(self, state: Any, place: Place) -> dict[str, Any] | None:
        """The state as input: of a task, what the graph takes of it."""
        plain: dict[str, Any] | None = to_jsonable_python(state)
        if plain is None or not place.is_task:
            return plain
        if not self._fields:
            graphs = {graph.name: graph for graph in await self._client.list_graphs()}
            schema = struct_value(graphs[self._graph].input_schema) if self._graph in graphs else {}
            self._fields = set(schema.get("properties", plain))
        return {key: value for key, value in plain.items() if key in self._fields}

    async def _resume(self, command: Command[Any], thread_id: str) -> tuple[Run, int]:
        """Answer the run that is parked on a thread."""
        refuse("Command with update or goto", (command.update, command.goto))
        parked = []
        if thread_id:
            parked = await self._client.list_runs(graph=self._graph, thread_id=thread_id, status=PARKED, limit=1)
        if not parked:
            raise ValueError(f"no run of {self._graph} waits for an answer on the thread {thread_id or '(none)'}")
        [run] = parked
        answers = _answers(command.resume, [asked.interrupt_id for asked in run.interrupts])
        return await self._client.resume_run(run.run_id, answers), run.last_seq

    async def _ask(self, run_id: str, asked: Iterable[Interrupt]) -> None:
        """Answer the run with what the program answers, or stop the program until it does.

        A task that is executed again comes here with every question of its run, in the same order, and the program has
        kept its answers: what the run has got already it gets again, which changes nothing.
        """
        open_ = [one for one in asked if not one.approval_id]
        answers = {one.interrupt_id: to_jsonable_python(interrupt(value_of(one.value))) for one in open_}
        if answers:
            await self._client.resume_run(run_id, answers)

    async def _outcome(self, run: Run, place: Place) -> dict[str, Any]:
        """What a run that has ended or parked says.

        Raises:
            GraphmeshError: how it failed.
            GraphInterrupt: it waits for an approval, and so does the task.
        """
        if run.status == RunStatus.RUN_STATUS_SUCCESS:
            return struct_value(run.output)
        if run.status != PARKED:
            raise from_status(run.error)
        questions = tuple(question(one) for one in run.interrupts)
        if place.is_task:
            raise GraphInterrupt(questions)
        state = await self._client.threads.state(run.thread_id)
        return {**struct_value(state.values), INTERRUPT: questions}


def _answers(answer: Any, asked: Sequence[str]) -> dict[str, Any]:
    """The answers by question: they may come by id, and need not where there is one question."""
    if answer and isinstance(answer, Mapping) and answer.keys() <= set(asked):
        return to_jsonable_python(dict(answer))  # type: ignore[no-any-return]
    if len(asked) != 1:
        raise ValueError(f"several questions wait; answer them by id: {', '.join(asked)}")
    return {asked[0]: to_jsonable_python(answer)}


def refuse(what: str, given: Iterable[Any]) -> None:
    if any(given):
        raise NotImplementedError(f"a graph of the mesh takes no {what}")
