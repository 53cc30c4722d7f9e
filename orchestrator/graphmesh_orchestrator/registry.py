"""The graphs that can be run, by name."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from graphmesh_chassis.errors import FieldViolation, InvalidInput
from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.budget import Limits
from graphmesh_nodes.declaration import Declaration, declaration_of
from graphmesh_nodes.graph_contexts import GraphContext, configurable_violations
from graphmesh_nodes.graph_inputs import GraphInput, state_schema
from graphmesh_nodes.graph_rules import GraphRuleViolated
from graphmesh_nodes.workflow_inputs import WorkflowInput
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINT_MAP  # the only access to the graphs around a task
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore, IndexConfig, TTLConfig

from graphmesh_orchestrator.checkpoints import CheckpointRef, LogSaver, write_behind_of
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, Versions
from graphmesh_orchestrator.errors import GraphFactoryFailed, GraphNotFound
from graphmesh_orchestrator.graph_factories import FactoryCall, FactoryFailed, GraphFactory
from graphmesh_orchestrator.project import ProjectError
from graphmesh_orchestrator.runs.run import DEFAULT_RECURSION_LIMIT, Run


@dataclass(frozen=True)
class Graph:
    """A compiled graph under its name."""

    name: str
    compiled: Pregel[Any, Any, Any, Any]
    """A compiled graph, or a functional workflow."""
    description: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    """Its versions, and the older ones whose states it resumes from."""
    factory: "GraphFactory[Graph] | None" = None
    """Makes the graph of each run; None where all runs have this one."""
    is_known: bool = True
    """Whether the schemas are known: the factory of the graph may need the config of a run."""

    @classmethod
    def of(
        cls,
        name: str,
        compiled: Pregel[Any, Any, Any, Any],
        description: str = "",
        lineage: Lineage | None = None,
    ) -> "Graph":
        """Make a graph of its compiled form, and read its schemas."""
        return cls(name, compiled, description, lineage or Lineage(name)).with_schemas()

    def with_schemas(self) -> "Graph":
        """Return this graph, after its schemas are read, which may fail."""
        _ = self.input, self.update, self.context, self.output_schema
        return self

    @cached_property
    def input(self) -> GraphInput | WorkflowInput:
        return GraphInput(self._builder) if self._builder else WorkflowInput(self.compiled)

    @cached_property
    def update(self) -> GraphInput | None:
        """The update of a state as if by a node; None for a workflow, whose state has no fields."""
        return GraphInput(self._builder, is_update=True) if self._builder else None

    @cached_property
    def context(self) -> GraphContext:
        return GraphContext(self.compiled)

    @cached_property
    def output_schema(self) -> Mapping[str, Any]:
        """JSON schema."""
        return state_schema(self._builder, self._builder.output_schema) if self._builder else {"type": "object"}

    @property
    def recursion_limit(self) -> int:
        """The supersteps of a run that states no limit: those of `with_config`."""
        return int((self.compiled.config or {}).get("recursion_limit") or DEFAULT_RECURSION_LIMIT)

    @property
    def declaration(self) -> Declaration | None:
        """What its module declares of it, with `declare`."""
        return declaration_of(self.compiled)

    def limits_of(self, requested: Limits) -> Limits:
        """Return the limits of a run: those that it requests, as far as the graph permits."""
        return self.declaration.limits.lowered_to(requested) if self.declaration else requested

    def has_shape_of(self, other: "Graph") -> bool:
        """Return whether it takes the inputs, contexts and breakpoints that the other graph takes."""
        return self is other or self._shape == other._shape

    @cached_property
    def _shape(self) -> tuple[Any, ...]:
        builder = self._builder
        start: Any = self.compiled.channels[START]
        schemas = (builder.input_schema, builder.state_schema) if builder else (start.UpdateType,)
        return (*schemas, self.compiled.context_schema, self.compiled.nodes.keys())

    @property
    def _builder(self) -> StateGraph[Any, Any, Any, Any] | None:
        return self.compiled.builder if isinstance(self.compiled, CompiledStateGraph) else None

    @asynccontextmanager
    async def of_run(self, run: Run, store: BaseStore | None = None) -> AsyncIterator["Graph"]:
        """Return the graph of a run: the one that the factory makes for it, if there is a factory.

        Without a store the graph is only read, not executed.

        Raises:
            GraphFactoryFailed: at the beginning, or at the end.
        """
        if self.factory is None:
            yield self
            return
        try:
            call = FactoryCall.of_run(run, self.compiled.context_schema, store)
            async with self.factory.made(call) as graph:
                yield graph
        except FactoryFailed as error:
            cause = error.__cause__ or error
            is_rule = isinstance(cause, GraphRuleViolated | ProjectError)
            shown = str(cause) if is_rule else type(cause).__name__
            raise GraphFactoryFailed(graph=self.name, cause=shown) from cause

    @property
    def versions(self) -> Versions:
        return self.lineage.versions

    @property
    def saver(self) -> LogSaver:
        """The checkpointer that the graph was loaded with, for its version."""
        return cast(LogSaver, self.compiled.checkpointer)

    def artifacts(self, config: RunnableConfig) -> Artifacts:
        """Return the artifacts of a run; in memory, where the graph was loaded with another checkpointer."""
        saver = self.compiled.checkpointer
        return saver.artifacts(config) if isinstance(saver, LogSaver) else MemoryArtifacts()

    async def is_durable(self, config: RunnableConfig) -> bool:
        """See `RunContext.is_durable`."""
        saver = self.compiled.checkpointer
        if not isinstance(saver, LogSaver):
            return True
        thread, ids = CheckpointRef.of(config).thread_id, config["configurable"][CONFIG_KEY_CHECKPOINT_MAP].items()
        refs = [CheckpointRef(thread, ns, checkpoint_id) for ns, checkpoint_id in ids]
        return all([await saver.is_stored(ref, write_behind_of(config)) for ref in refs])

    def check_input(self, value: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
        """Check the input of a run on a thread that has `stored` by channel. Raises InvalidInput, with every field."""
        if violations := self.input.violations(value, stored):
            raise InvalidInput(violations=violations, graph=self.name)

    def check_breakpoints(self, breakpoints: Mapping[str, Sequence[str]]) -> None:
        """Raises InvalidInput, which names every node that the graph does not have."""
        known = {"*", *self.compiled.nodes} - {START}
        violations = [
            FieldViolation(f"interrupt_{place}[{number}]", f"is none of *, {', '.join(sorted(known - {'*'}))}")
            for place, nodes in breakpoints.items()
            for number, node in enumerate(nodes)
            if node not in known
        ]
        if violations:
            raise InvalidInput(violations=violations, graph=self.name)

    def check_context(
        self, context: Mapping[str, Any] | None, configurable: Mapping[str, Any] | None, *, is_partial: bool = False
    ) -> None:
        """Raises InvalidInput, with every field. A partial context may lack members that are required."""
        found = self.context.violations(context, is_partial=is_partial) if self.is_known else ()
        violations = (*found, *configurable_violations(configurable or {}))
        if violations:
            raise InvalidInput(violations=violations, graph=self.name)


class Registry:
    """The graphs by name."""

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        store_ttl: TTLConfig | None = None,
        store_index: IndexConfig | None = None,
        packages: Collection[str] = (),
    ) -> None:
        """
        Args:
            store_ttl: the times to live of items of the store that state none.
            store_index: the vectors by which searches of the store with a query order items; None: there are none.
            packages: the installed packages in which graphs are, not in files of the project.
        """
        self._graphs, self.store_ttl, self.store_index = dict(sorted(graphs.items())), store_ttl, store_index
        self.packages = frozenset(packages)

    def get(self, name: str, is_shown: Callable[[str], bool] = lambda _: True) -> Graph:
        """Return a graph.

        Args:
            is_shown: whether the error may name a graph.

        Raises:
            GraphNotFound: there is none of that name.
        """
        if name not in self._graphs:
            raise GraphNotFound(graph=name, registered=", ".join(filter(is_shown, self._graphs)) or "none")
        return self._graphs[name]

    @property
    def names(self) -> list[str]:
        return list(self._graphs)

    @property
    def served(self) -> list[tuple[str, int]]:
        """The graphs with each version whose runs this process can execute."""
        return [(name, version) for name, graph in self._graphs.items() for version in graph.lineage.served]

    def all(self) -> list[Graph]:
        return list(self._graphs.values())
