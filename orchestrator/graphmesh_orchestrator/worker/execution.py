"""One execution of a run: the graph's stream becomes the run's events."""

import base64
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.status import to_status
from graphmesh_nodes.budget import Meter
from graphmesh_nodes.context import RunContext
from graphmesh_nodes.json_values import plain
from graphmesh_nodes.remote import ToolCall
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.types import Command, StateSnapshot, StreamMode

from graphmesh_orchestrator.checkpoints import BLANK, CLAIM, TRAIL, Blank, Claim
from graphmesh_orchestrator.checkpoints.config_keys import saver_thread
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.runs.run import EventKind, Run
from graphmesh_orchestrator.worker.journal import Journal
from graphmesh_orchestrator.worker.suspension import Parking

STREAM_MODES: Sequence[StreamMode] = ["tasks", "custom", "messages", "values"]
RUN_METADATA = "graphmesh_run"
"""The checkpoint metadata that tells which run wrote a checkpoint."""


class Execution:
    """One execution of a run: what its stream has said so far."""

    def __init__(
        self,
        run: Run,
        graph: Graph,
        journal: Journal,
        control: RunControl,
        meter: Meter,
        blank: Blank | None = None,
    ) -> None:
        self.run, self._control, self._blank = run, control, blank
        self.graph, self.journal, self.meter = graph, journal, meter
        self._began: dict[str, float] = {}
        self.output: dict[str, Any] | None = None
        self.asks = False
        """Whether a node asked something."""
        self.drained = False
        self.last_node = ""

    @property
    def config(self) -> RunnableConfig:
        """Where the run is: on its thread, at the newest checkpoint. What it writes goes to its journal."""
        return {
            "configurable": {
                "thread_id": saver_thread(self.run.tenant, self.run.thread_id),
                CLAIM: Claim(self.run.run_id, self.run.epoch),
                TRAIL: self.journal,
            },
            "recursion_limit": self.run.recursion_limit,
            "metadata": {RUN_METADATA: self.run.run_id, **self.graph.versions.metadata()},
            "run_name": self.run.graph,
        }

    async def follow(self, context: RunContext, parking: Parking) -> None:
        """Run the graph and write down what it streams."""
        config, given = await self._begin(parking)
        if self.asks:
            return
        compiled = self.graph.compiled
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

    async def _begin(self, parking: Parking) -> tuple[RunnableConfig, Any]:
        """Where the graph is to begin, and what it is given.

        A run that has parked goes on, also where it has written no checkpoint: the first thing that it did was to ask.

        Raises:
            NotFound: a rollback has taken away the checkpoint that it is to begin at, since it was submitted. LangGraph
                would begin without a state.
        """
        config = self.config
        if self.run.epoch > 1:
            answers = await parking.answers(self.run)
            state = await self.graph.compiled.aget_state(config)
            if answers or (state.metadata or {}).get(RUN_METADATA) == self.run.run_id:
                return config, self._resumed(state, answers)
        await parking.take_back(self.run)
        if self.run.checkpoint_id:
            config["configurable"]["checkpoint_id"] = self.run.checkpoint_id
            if (await self.graph.compiled.aget_state(config)).created_at is None:
                raise NotFound(resource="checkpoint", id=self.run.checkpoint_id)
        if self._blank:
            config["configurable"][BLANK] = self._blank
        return config, self.run.input

    def _resumed(self, state: StateSnapshot, answers: Mapping[str, Any]) -> Command[Any] | None:
        """What a graph is given that goes on: the answers to what it asked; nothing, where it asked nothing.

        Where it has nothing left to do but wait for answers, it still `asks`.
        """
        if not state.interrupts:
            return None
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
