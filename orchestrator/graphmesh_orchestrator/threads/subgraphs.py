"""The graphs whose states a thread has: that of the thread, and the subgraphs within it, by their namespaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphmesh_chassis.errors import NotFound
from langchain_core.runnables import RunnableConfig
from langgraph._internal._config import recast_checkpoint_ns
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINTER, NS_END, NS_SEP
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel

from graphmesh_orchestrator.checkpoints import thread_config
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.threads.thread import Thread

Compiled = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True)
class ThreadGraph:
    """A graph of a thread."""

    thread: Thread
    root: Graph
    """The graph of the thread."""
    compiled: Compiled
    """That graph, or one within it."""
    ns: str = ""
    """The namespace of its checkpoints."""

    @classmethod
    def of(cls, thread: Thread, root: Graph, namespace: Sequence[str] = ()) -> "ThreadGraph":
        """Find a graph by the names of the nodes around it, each with the id of its task.

        Raises:
            NotFound: there is no such subgraph, it is called in the code of a node, or it has no checkpoints.
        """
        if not namespace:
            return cls(thread, root, root.compiled)
        ns = NS_SEP.join(namespace)
        for _, found in root.compiled.get_subgraphs(namespace=recast_checkpoint_ns(ns), recurse=True):
            if isinstance(found, Pregel) and found.checkpointer is not False:
                return cls(thread, root, found, _without_ids(ns) if found.checkpointer is True else ns)
        raise NotFound(resource="subgraph", id=ns)

    def config(self, checkpoint_id: str = "", saver: BaseCheckpointSaver[Any] | None = None) -> RunnableConfig:
        """Return the config of its newest checkpoint, or of another one, for LangGraph's methods of states."""
        config = thread_config(self.thread.tenant, self.thread.thread_id, checkpoint_id)
        config["configurable"][CONFIG_KEY_CHECKPOINTER] = saver or self.root.compiled.checkpointer
        if self.ns:
            config["configurable"]["checkpoint_ns"] = self.ns
        return config

    @property
    def graph(self) -> Graph:
        """The graph with its schemas."""
        if not self.ns:
            return self.root
        return Graph.of(self.root.name, self.compiled, lineage=self.root.lineage)


def _without_ids(ns: str) -> str:
    """A graph with `checkpointer=True` has one history a thread."""
    return NS_SEP.join(level.split(NS_END)[0] for level in ns.split(NS_SEP))
