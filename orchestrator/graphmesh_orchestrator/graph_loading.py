"""Loads the graphs of a project, in every form that LangGraph has."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import IndexConfig, ensure_embeddings
from langgraph.store.memory import InMemoryStore

from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.state_versions import FIRST, Lineage, Versions, prompts_digest, tools_digest
from graphmesh_orchestrator.graph_modules import GraphModules
from graphmesh_orchestrator.import_errors import describe
from graphmesh_orchestrator.project import GraphEntry, Project, ProjectError
from graphmesh_orchestrator.registry import Graph, Registry

log = structlog.get_logger("graphmesh.orchestrator.graphs")


@dataclass(frozen=True)
class MadeGraph:
    """A graph as its module or factory makes it."""

    made: Any
    lineage: Lineage
    description: str


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
                compiled[name] = _compiled(graph, checkpointer)
        index = _store_index(self.project, indexes, self.modules)
        return Registry(compiled, self.project.store.ttl_config, index, self.project.packages)


@asynccontextmanager
async def loaded_graphs(path: Path, checkpointer: BaseCheckpointSaver[Any]) -> AsyncIterator[Registry]:
    """Load every graph of the langgraph.json at `path`. See `made_graphs`."""
    async with made_graphs(path) as graphs:
        yield graphs.registry(checkpointer)


@asynccontextmanager
async def made_graphs(path: Path) -> AsyncIterator[MadeGraphs]:
    """Import every graph of the langgraph.json at `path`, and close what their factories opened at the end.

    Raises:
        ProjectError: the file is missing or wrong, or a graph in it is.
    """
    project = Project.read(path)
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
                lineage = _lineage(name, module, tools)
                made = await _made(_variable(module, entry), stack)
                graphs[name] = MadeGraph(made, lineage, entry.description or _summary(module))
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


async def _made(given: Any, stack: AsyncExitStack) -> Any:
    """Return a graph, or the one that a factory makes: a function or a context manager, sync or async, with a config
    or without. The factory is called once, with an empty config.
    """
    if isinstance(given, (StateGraph, Pregel)) or not callable(given):
        return given
    try:
        configs: list[Any] = [{"configurable": {}}] if inspect.signature(given).parameters else []
        made = given(*configs) if inspect.iscoroutinefunction(given) else await asyncio.to_thread(given, *configs)
        if inspect.isawaitable(made):
            made = await made
        if hasattr(made, "__aenter__"):
            made = await stack.enter_async_context(made)
        elif hasattr(made, "__enter__"):
            made = await asyncio.to_thread(stack.enter_context, made)
    except (Exception, SystemExit) as error:
        raise ProjectError(f"its factory {given.__qualname__} failed: {describe(error)}") from error
    return made


def _compiled(graph: MadeGraph, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
    made, lineage = graph.made, graph.lineage
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
    return Graph.of(lineage.name, compiled, graph.description, lineage)


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
