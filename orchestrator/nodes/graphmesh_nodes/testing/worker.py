"""A worker of the orchestrator, in the process of a test."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.epoch import Epoch
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.types import Command, StateSnapshot

from graphmesh_nodes.artifacts import MemoryArtifacts
from graphmesh_nodes.breakpoints import Breakpoints, breakpoint_of
from graphmesh_nodes.budget import Budget, Limits
from graphmesh_nodes.context import Policies, RunContext, allow_every_tool, with_run_context
from graphmesh_nodes.declaration import declaration_of, no_customer
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from graphmesh_nodes.routes import record_routes
from graphmesh_nodes.testing.crashing_saver import CrashingSaver
from graphmesh_nodes.testing.errors import HarnessError
from graphmesh_nodes.testing.fake_clock import FakeClock
from graphmesh_nodes.testing.run_recorder import STREAM_MODES, RunRecorder
from graphmesh_nodes.testing.twin_mesh import TwinMesh

Graph = StateGraph[Any, Any, Any, Any] | CompiledStateGraph[Any, Any, Any, Any]

RUN_METADATA = "graphmesh_run"
"""The key of the checkpoint metadata that names the run."""


@dataclass(frozen=True)
class Identity:
    tenant: str
    subject: str
    thread_id: str
    roles: frozenset[str] | None


class Worker:
    """Executes runs of a graph on one thread, as the orchestrator does, and dies on request."""

    def __init__(
        self,
        graph: Graph,
        mesh: TwinMesh,
        identity: Identity,
        policies: Policies,
        limits: Limits,
        clock: FakeClock,
        artifacts: MemoryArtifacts,
        store: BaseStore,
    ) -> None:
        self._mesh, self._identity, self._policies = mesh, identity, policies
        declared = declaration_of(graph)
        self._limits = declared.limits.lowered_to(limits) if declared else limits
        self._require_tool = declared.require_tool if declared else allow_every_tool
        self._customer_of = declared.customer_of if declared else no_customer
        self._clock, self._artifacts = clock, artifacts
        self._death = asyncio.Event()
        self.saver, mesh.on_crash = CrashingSaver(self._die), self._die
        self.graph = _compiled(graph, self.saver, store)

    async def execute(self, run: RunRecorder) -> StateSnapshot:
        """Execute a run until it ends or parks, in one epoch more each time that the worker dies; returns its state."""
        while not await self._survives(run):
            self.saver.is_dead = self._mesh.is_cut_off = False
            self._death.clear()
        return await self.graph.aget_state(self._config(run))

    async def _survives(self, run: RunRecorder) -> bool:
        """Execute a run in a task, which is cancelled when the worker dies; returns whether it did not."""
        execution = asyncio.create_task(self._stream(run), name=run.run_id)
        death = asyncio.create_task(self._death.wait(), name=f"death of {run.run_id}")
        try:
            await asyncio.wait({execution, death}, return_when=asyncio.FIRST_COMPLETED)
            if not self._death.is_set():
                await execution
            return not self._death.is_set()
        finally:
            execution.cancel()
            death.cancel()
            await asyncio.gather(execution, death, return_exceptions=True)

    def _die(self) -> None:
        self._mesh.is_cut_off = self.saver.is_dead = True
        self._death.set()

    async def _stream(self, run: RunRecorder) -> None:
        run.epoch += 1
        if run.epoch > 1 and await self._stays(run):
            return
        control = RunControl()
        budget = Budget(self._limits, run.usage, control.request_drain)
        deadline = Deadline.after(run.deadline_seconds, self._clock.monotonic)
        try:
            context = self._context(run, budget, deadline).bound_to(await self._customer(run))
        except GraphmeshError as error:
            run.error = error
            return
        if run.epoch > 1:
            begin = await self.graph.aget_state(self._config(run))
            context = replace(context, resumed_from=begin.config["configurable"].get("checkpoint_id", ""))
        stream: Any = self.graph.astream(
            await self._input(run),
            with_run_context(self._config(run), context),
            context=run.context,
            stream_mode=STREAM_MODES,
            output_keys=self.graph.output_channels,
            control=control,
            subgraphs=True,
            durability="sync",
        )
        try:
            async with contextlib.aclosing(stream) as parts:
                async for namespace, mode, part in parts:
                    if self.saver.is_dead:
                        await asyncio.Event().wait()  # until it is cancelled, once, with all tasks of the graph
                    if run.record(mode, part, is_subgraph=bool(namespace)):
                        budget.begin_step()
                    self.saver.task_nodes = run.task_nodes
        except GraphDrained:
            run.error = budget.error
        except GraphmeshError as error:
            run.error = error
        finally:
            run.usage, run.deadline_seconds = budget.usage, deadline.remaining

    async def _customer(self, run: RunRecorder) -> str:
        return self._customer_of(run.input, (await self.graph.aget_state(self._config(run))).values)

    async def _stays(self, run: RunRecorder) -> bool:
        """Whether the graph is at a breakpoint that no answer has passed."""
        state = await self.graph.aget_state(self._config(run))
        question = breakpoint_of(state)
        if question is None or question.id in run.answers:
            return False
        return await Breakpoints.of(self.graph).stops(self.graph, state)

    async def _input(self, run: RunRecorder) -> Any:
        """Return the input of a run without a checkpoint; else the answers to its interrupts, where there are any."""
        if run.epoch == 1:
            return run.input
        state = await self.graph.aget_state(self._config(run))
        if not run.answers and (state.metadata or {}).get(RUN_METADATA) != run.run_id:
            return run.input
        answers = {one.id: run.answers[one.id] for one in state.interrupts if one.id in run.answers}
        return Command(resume=answers) if answers else None

    def _config(self, run: RunRecorder) -> RunnableConfig:
        return {"configurable": {"thread_id": self._identity.thread_id}, "metadata": {RUN_METADATA: run.run_id}}

    def _context(self, run: RunRecorder, budget: Budget, deadline: Deadline) -> RunContext:
        return RunContext(
            self._mesh,
            self._identity.tenant,
            self._identity.subject,
            run.run_id,
            deadline,
            self._policies,
            budget=budget,
            epoch=Epoch(run.epoch),
            continues_thread=run.input is None,
            artifacts=self._artifacts,
            clock=self._clock,
            require_tool=self._require_tool,
            roles=lambda: self._identity.roles,
            decided=run.decisions.append,
        )


def _compiled(graph: Graph, saver: CrashingSaver, store: BaseStore) -> CompiledStateGraph[Any, Any, Any, Any]:
    if isinstance(graph, StateGraph):
        compiled = graph.compile(checkpointer=saver)
    else:
        compiled = graph.copy(update={"checkpointer": saver})
    try:
        check_graph(compiled)
    except GraphRuleViolated as error:
        raise HarnessError(str(error)) from error
    compiled.store = store
    record_routes()
    return compiled
