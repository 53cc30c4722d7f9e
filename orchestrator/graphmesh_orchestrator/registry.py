"""The registry of graphs: a `langgraph.json`, whose graphs are loaded and compiled once."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.graph_inputs import GraphInput, state_schema
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINT_MAP  # the only access to the graphs around a task
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from graphmesh_orchestrator.checkpoints import CheckpointRef, LogSaver, write_behind_of
from graphmesh_orchestrator.checkpoints.state_versions import FIRST, Lineage, Versions, prompts_digest, tools_digest
from graphmesh_orchestrator.errors import GraphNotFound, InvalidInput


class RegistryError(ValueError):
    """The langgraph.json, or a module that it names, cannot be used."""


@dataclass(frozen=True)
class Graph:
    """A compiled graph under its name."""

    name: str
    description: str
    compiled: CompiledStateGraph[Any, Any, Any, Any]
    input: GraphInput
    update: GraphInput
    """The update of a state as if by a node."""
    output_schema: Mapping[str, Any]
    """JSON schema."""
    lineage: Lineage = field(default_factory=Lineage)
    """Its versions, and the older ones whose states it resumes from."""

    @classmethod
    def of(
        cls,
        name: str,
        compiled: CompiledStateGraph[Any, Any, Any, Any],
        description: str = "",
        lineage: Lineage | None = None,
    ) -> "Graph":
        """Make a graph of its compiled form, from which its schemas are read."""
        output_schema = state_schema(compiled.builder, compiled.builder.output_schema)
        inputs = GraphInput(compiled.builder), GraphInput(compiled.builder, is_update=True)
        return cls(name, description, compiled, *inputs, output_schema, lineage or Lineage(name))

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
        saver, given = self.compiled.checkpointer, config["configurable"]
        if not isinstance(saver, LogSaver):
            return True
        ids = given[CONFIG_KEY_CHECKPOINT_MAP].items()
        refs = [CheckpointRef(given["thread_id"], ns, checkpoint_id) for ns, checkpoint_id in ids]
        return all([await saver.is_stored(ref, write_behind_of(config)) for ref in refs])

    def check_input(self, value: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
        """Check the input of a run on a thread that has `stored` by channel. Raises InvalidInput, with every field."""
        if violations := self.input.violations(value, stored):
            raise InvalidInput(violations=violations, graph=self.name)


class Registry:
    """The graphs by name."""

    def __init__(self, graphs: Mapping[str, Graph]) -> None:
        self._graphs = dict(sorted(graphs.items()))

    @classmethod
    def load(cls, path: Path, checkpointer: BaseCheckpointSaver[Any]) -> "Registry":
        """Load every graph that the langgraph.json at `path` names, as `"name": "./module.py:variable"`.

        Raises:
            RegistryError: the file is missing or wrong, or a graph in it is.
        """
        try:
            entries = json.loads(path.read_text())["graphs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"{path}: cannot read its graphs: {error!r}") from error
        modules = {name: _module(name, path.parent / _file(entry)) for name, entry in entries.items()}
        tools = tools_digest()  # of all imported modules, so that the order of the graphs does not matter
        lineages = {name: _lineage(name, module, tools) for name, module in modules.items()}
        return cls({name: _load(lineages[name], modules[name], entry, checkpointer) for name, entry in entries.items()})

    def get(self, name: str) -> Graph:
        """Raises GraphNotFound."""
        if name not in self._graphs:
            raise GraphNotFound(graph=name, registered=", ".join(self._graphs))
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


def _file(entry: Any) -> str:
    return str(entry).partition(":")[0]


def _lineage(name: str, module: ModuleType, tools: str) -> Lineage:
    """Read `VERSION` of a module, and the `MIGRATIONS` that lead to it."""
    version = getattr(module, "VERSION", FIRST)
    migrations = getattr(module, "MIGRATIONS", {})
    if not isinstance(version, int) or version < FIRST:
        raise RegistryError(f"graph {name}: VERSION is {version!r}, not a number from {FIRST} on")
    if wrong := [begin for begin in migrations if begin not in range(FIRST, version)]:
        raise RegistryError(f"graph {name}: MIGRATIONS from {wrong} do not lead to VERSION {version}")
    return Lineage(name, Versions(version, prompts_digest(module), tools), dict(migrations))


def _load(lineage: Lineage, module: ModuleType, entry: Any, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
    name = lineage.name
    file, _, variable = str(entry).partition(":")
    if isinstance(checkpointer, LogSaver):
        checkpointer = checkpointer.with_lineage(lineage)
    graph = getattr(module, variable or "graph", None)
    if isinstance(graph, StateGraph):
        compiled = graph.compile(checkpointer=checkpointer, name=name)
    elif isinstance(graph, CompiledStateGraph):
        compiled = graph.copy(update={"checkpointer": checkpointer, "name": name})
    else:
        raise RegistryError(f"graph {name}: {file} has no StateGraph named {variable or 'graph'}")
    description = (module.__doc__ or "").strip().partition("\n\n")[0]
    try:
        check_graph(compiled)
        return Graph.of(name, compiled, description, lineage)
    except GraphRuleViolated as error:
        raise RegistryError(f"graph {name}: {error}") from error


def _module(name: str, file: Path) -> ModuleType:
    """Import a module from its file, as a member of a package where its folder is one."""
    file = file.resolve()
    package = file.parent.name if (file.parent / "__init__.py").exists() else ""
    if package and str(file.parent.parent) not in sys.path:
        sys.path.insert(0, str(file.parent.parent))
    try:
        if package:
            return importlib.import_module(f"{package}.{file.stem}")
        spec = importlib.util.spec_from_file_location(f"graphmesh_graph_{name}", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
    except Exception as error:
        raise RegistryError(f"graph {name}: {file} cannot be imported: {error!r}") from error
    return module
