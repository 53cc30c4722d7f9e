"""Loads the graphs of a project, in every form that LangGraph has."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import structlog
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import IndexConfig, ensure_embeddings
from langgraph.store.memory import InMemoryStore

from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.state_versions import FIRST, Lineage, Versions, prompts_digest, tools_digest
from graphmesh_orchestrator.graph_factories import FactoryFailed, GraphFactory
from graphmesh_orchestrator.graph_modules import GraphModules
from graphmesh_orchestrator.import_errors import describe
from graphmesh_orchestrator.project import GraphEntry, Project, ProjectError
from graphmesh_orchestrator.registry import Graph, Registry

log = structlog.get_logger("graphmesh.orchestrator.graphs")


@dataclass(frozen=True)
class MadeGraph:
    """A graph as its module or factory makes it."""

    made: Any
    """For all runs; of a factory that is called for each run, what it makes for an empty config."""
    lineage: Lineage
    description: str
    factory: GraphFactory[Any] | None = None
    """The factory that is called for each run."""
    is_known: bool = True
    """Whether the factory makes a graph for an empty config."""

    def compiled(self, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
        """Compile the graph, and read its schemas."""
        compile = partial(_compiled, lineage=self.lineage, checkpointer=checkpointer, description=self.description)
        factory = self.factory.compiled_by(compile) if self.factory else None
        return replace(compile(self.made), factory=factory, is_known=self.is_known).with_schemas()


@dataclass(frozen=True)
class MadeGraphs:
    """The graphs of a project."""

    project: Project
    modules: GraphModules
    graphs: Mapping[str, MadeGraph]

    def registry(self, checkpointer: BaseCheckpointSaver[Any]) -> Registry:
        """Compile the graphs. Raises ProjectError."""
        compiled, indexes = {}, {}
        for name, graph in self.graphs.items():
            with _named(name):
                indexes[name] = _index_of(graph.made)
                compiled[name] = graph.compiled(checkpointer)
        index = _store_index(self.project, indexes, self.modules)
        return Registry(compiled, self.project.store.ttl_config, index, self.project.packages)


@asynccontextmanager
async def loaded_graphs(path: Path, checkpointer: BaseCheckpointSaver[Any]) -> AsyncIterator[Registry]:
    """Load every graph of the langgraph.json at `path`. See `made_graphs`."""
    async with made_graphs(path) as graphs:
        yield graphs.registry(checkpointer)


@asynccontextmanager
async def made_graphs(path: Path, without: Collection[str] = ()) -> AsyncIterator[MadeGraphs]:
    """Import every graph of the langgraph.json at `path`, and close what their factories opened at the end.

    Raises:
        ProjectError: the file is missing or wrong, or a graph in it is.
    """
    project = Project.read(path, without)
    project.enter()
    if project.image:
        log.info("keys of an image do not apply to a process", file=str(path), keys=sorted(project.image))
    modules = await asyncio.to_thread(_modules, project)  # where modules may call asyncio.run
    tools = tools_digest()  # of all imported modules, so that the order of the graphs does not matter
    async with AsyncExitStack() as stack:
        graphs = {}
        for name, entry in project.graphs.items():
            with _named(name):
                module = modules.get(entry)
                lineage, description = _lineage(name, module, tools), entry.description or _summary(module)
                graphs[name] = await _made(_variable(module, entry), lineage, description, stack)
        yield MadeGraphs(project, modules, graphs)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (GraphRuleViolated, ProjectError) as error:
        raise ProjectError(f"graph {name}: {error}") from error
    except Exception as error:
        raise ProjectError(f"graph {name}: {describe(error)}") from error


def _modules(project: Project) -> GraphModules:
    """Import the module of each source."""
    modules = GraphModules(project)
    for name, entry in project.graphs.items():
        with _named(name):
            modules.get(entry)
    return modules


def _lineage(name: str, module: ModuleType, tools: str) -> Lineage:
    """Read `VERSION` of a module, and the `MIGRATIONS` that lead to it."""
    version = getattr(module, "VERSION", FIRST)
    migrations = getattr(module, "MIGRATIONS", {})
    if not isinstance(version, int) or version < FIRST:
        raise ProjectError(f"VERSION is {version!r}, not a number from {FIRST} on")
    if wrong := [begin for begin in migrations if begin not in range(FIRST, version)]:
        raise ProjectError(f"MIGRATIONS from {wrong} do not lead to VERSION {version}")
    return Lineage(name, Versions(version, prompts_digest(module), tools), dict(migrations))


def _variable(module: ModuleType, entry: GraphEntry) -> Any:
    if not hasattr(module, entry.variable):
        raise ProjectError(f"{entry.source} has no {entry.variable}")
    return getattr(module, entry.variable)


async def _made(given: Any, lineage: Lineage, description: str, stack: AsyncExitStack) -> MadeGraph:
    """Return a graph, or the one that a factory makes, with the factory if that is called for each run."""
    if isinstance(given, (StateGraph, Pregel)) or not callable(given):
        return MadeGraph(given, lineage, description)
    factory = GraphFactory[Any](given, lambda made: made)
    if not factory.is_called_for_each_run:
        return MadeGraph(await stack.enter_async_context(factory.made()), lineage, description)
    try:
        async with factory.made() as made:
            return MadeGraph(made, lineage, description, factory)
    except FactoryFailed as error:
        log.warning("schemas are not known: the factory needs the config of a run", error=str(error))
        return MadeGraph(_any_graph(), lineage, description, factory, is_known=False)


def _any_graph() -> StateGraph[Any, Any, Any, Any]:
    """Return a graph that stands for one whose schemas are not known: it takes any input."""
    builder: Any = StateGraph(cast(Any, dict))
    builder.add_node("graph", lambda state: state)
    builder.add_edge(START, "graph")
    return cast(StateGraph[Any, Any, Any, Any], builder)


def _compiled(made: Any, *, lineage: Lineage, checkpointer: BaseCheckpointSaver[Any], description: str) -> Graph:
    if isinstance(checkpointer, LogSaver):
        checkpointer = checkpointer.with_lineage(lineage)
    compiled: Pregel[Any, Any, Any, Any]
    if isinstance(made, StateGraph):
        compiled = made.compile(checkpointer=checkpointer, name=lineage.name)
    elif isinstance(made, Pregel):
        compiled = made.copy(update={"checkpointer": checkpointer, "name": lineage.name})
    else:
        raise ProjectError(f"is a {type(made).__name__}, and neither a StateGraph nor a workflow, nor a factory of one")
    check_graph(compiled)
    compiled.store = None  # each run has that of its tenant
    return Graph(lineage.name, compiled, description, lineage)


def _index_of(made: Any) -> IndexConfig | None:
    """Return the index of the store that a graph was compiled with."""
    store = made.store if isinstance(made, Pregel) else None
    if not isinstance(store, InMemoryStore) or not store.index_config:
        return None
    config = store.index_config
    return {"embed": config["embed"], "dims": config["dims"], "fields": config.get("fields")}


def _store_index(
    project: Project, indexes: Mapping[str, IndexConfig | None], modules: GraphModules
) -> IndexConfig | None:
    """Return the index of the project, else that of its graphs: all of them have one store.

    Raises:
        ProjectError: two graphs have different ones, or the embeddings of the project cannot be loaded.
    """
    if options := project.store.index:
        try:
            return {"embed": _embeddings(options.embed, modules), "dims": options.dims, "fields": options.fields}
        except Exception as error:
            raise ProjectError(
                f"{project.file}: store.index.embed: {options.embed} cannot be loaded: {error}"
            ) from error
    stated = {name: index for name, index in indexes.items() if index}
    first = next(iter(stated), "")
    if other := next((name for name, index in stated.items() if index != stated[first]), None):
        raise ProjectError(
            f"graph {other}: its store has another index than that of {first}: state one, in {project.file}"
        )
    return stated.get(first)


def _embeddings(embed: str, modules: GraphModules) -> Embeddings:
    """Load `provider:model` or `./file.py:variable`."""
    entry = GraphEntry(path=embed)
    return ensure_embeddings(_variable(modules.get(entry), entry) if entry.is_file else embed)


def _summary(module: ModuleType) -> str:
    """Return the first paragraph of the module's docstring."""
    return (module.__doc__ or "").strip().partition("\n\n")[0]
