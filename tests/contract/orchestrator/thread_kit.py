"""Graphs and threads in SQL, for the suites of thread states and forks."""

from dataclasses import dataclass
from typing import Any

from graphmesh_contracts.keys import checkpoint_thread
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.threads.forks_sql import SqlForks
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.thread import State, Thread
from graphmesh_orchestrator.threads.threads_sql import SqlThreads
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.test_deletion import asking

Compiled = CompiledStateGraph[Any, Any, Any, Any]


def delta(saver: BaseCheckpointSaver[Any]) -> Compiled:
    """Build a graph with a delta channel, whose values are rebuilt from tasks' writes."""
    return kit.chain(saver, kit.Delta)


def parallel(saver: BaseCheckpointSaver[Any]) -> Compiled:
    """Build two parallel nodes, so that neither of them was the last."""
    builder = StateGraph(kit.State)
    for name in ("a", "b"):
        builder.add_node(name, lambda state: {"log": ["x"]})
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    return builder.compile(checkpointer=saver)


def failing_within(saver: BaseCheckpointSaver[Any]) -> Compiled:
    """Build a graph in a graph in a graph. The innermost has two nodes, of which the second fails at first."""

    def fails(state: kit.State) -> dict[str, Any]:
        if "repaired" not in state["log"]:
            raise ValueError("not yet")
        return {"log": ["second"]}

    def around(name: str, inner: Any, **options: Any) -> Compiled:
        builder = StateGraph(kit.State)
        builder.add_node(name, inner)
        builder.add_edge(START, name)
        return builder.compile(**options)

    innermost = StateGraph(kit.State)
    innermost.add_node("first", lambda state: {"log": ["first"]})
    innermost.add_node("second", fails)
    innermost.add_edge(START, "first")
    innermost.add_edge("first", "second")
    return around("outer", around("inner", innermost.compile()), checkpointer=saver)


GRAPHS = {
    "failing": failing_within,
    "chain": kit.chain,
    "sub": kit.interrupting,
    "delta": delta,
    "parallel": parallel,
    "asking": asking,
}


@dataclass
class ThreadKit:
    """The parts that serve threads, and LangGraph beside them."""

    stores: SqlStores

    def __post_init__(self) -> None:
        saver, database = self.stores.log_saver, self.stores.database
        self.threads = self.stores.threads
        self.registry = Registry({name: Graph.of(name, graph(saver)) for name, graph in GRAPHS.items()})
        self.states = ThreadStates(database, self.registry, self.stores.interrupts, self.stores.runs)
        self.forks = SqlForks(database, SqlThreads(database), saver.serde)

    async def create(self, graph: str = "chain", thread_id: str = "th", **values: Any) -> Thread:
        """Create a thread, and run the graph on it."""
        thread = await self.threads.create("acme", thread_id, graph, {}, 0)
        await self.invoke(graph, thread_id, values or {"log": []})
        return thread

    async def invoke(self, graph: str, thread_id: str, graph_input: Any) -> Any:
        return await self.registry.get(graph).compiled.ainvoke(graph_input, at(thread_id), durability="sync")

    async def langgraph_history(self, graph: str = "chain", thread_id: str = "th") -> list[StateSnapshot]:
        return [found async for found in self.registry.get(graph).compiled.aget_state_history(at(thread_id))]

    async def history(self, thread: Thread) -> list[State]:
        return [state async for state in self.states.history(thread)]

    async def log(self, thread_id: str = "th", checkpoint_id: str = "") -> Any:
        state = await self.states.get(await self.threads.get("acme", thread_id), checkpoint_id)
        return state.values.get("log")


def at(thread_id: str) -> Any:
    """Return the config of a thread's checkpoints."""
    return kit.at(checkpoint_thread("acme", thread_id))
