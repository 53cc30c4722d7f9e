"""What the runs of a tenant share besides their threads: the store, and the results of cached nodes."""

from dataclasses import dataclass, field
from typing import Any

from graphmesh_nodes.context import Lease
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.store.base import BaseStore, IndexConfig, TTLConfig

from graphmesh_orchestrator.checkpoints import RunEpoch
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.store.embeddings import Index
from graphmesh_orchestrator.store.items import Store
from graphmesh_orchestrator.store.node_cache import NodeCache, ScopedCache
from graphmesh_orchestrator.store.tenant_store import TenantStore, Writer


@dataclass(frozen=True)
class RunMemory:
    """The memory of one execution of a run."""

    store: BaseStore
    _tenant: str
    _cache: NodeCache

    def cache_of(self, graph: Graph) -> BaseCache[Any]:
        """Return the results of cached nodes of the run's graph.

        A cache in memory that a graph was compiled with is replaced by the one of the process, which is bounded; of
        another one the graph gets a part for the tenant.
        """
        own = graph.compiled.cache
        cache = self._cache if own is None or type(own) is InMemoryCache else own
        return ScopedCache(cache, (self._tenant, graph.name, str(graph.versions.graph)))


@dataclass(frozen=True)
class Memory:
    """The memory of a process."""

    store: Store
    ttl: TTLConfig | None = None
    """The times to live of items that state none."""
    index: IndexConfig | None = None
    """For searches with a query."""
    cache: NodeCache = field(default_factory=NodeCache)

    def of(self, run: Run, lease: Lease) -> RunMemory:
        """Return the memory of the run's tenant, for one execution under a lease."""
        tenant, writer = run.identity.tenant, Writer(RunEpoch(run.run_id, run.state.epoch), lease)
        index = Index.of(self.index) if self.index else None
        return RunMemory(TenantStore(self.store.of(tenant), writer, self.ttl, index), tenant, self.cache)
