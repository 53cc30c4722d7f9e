"""The memory of runs: each graph gets the store and the cache of its run's tenant, wherever its code asks for them."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.store.node_cache import NodeCache, ScopedCache
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from tests.contract import runs
from tests.unit.orchestrator.memory_orchestrator import GRAPH, error_of, open_orchestrator

NAMESPACE = ("people",)


class State(TypedDict, total=False):
    name: str
    seen: int


def a_run(tenant: str = "acme", **fields: Any) -> Run:
    run_id = f"run_{tenant}_{time.monotonic_ns()}"
    defaults = {"graph": GRAPH, "created": datetime.now(UTC), "input": {"name": "ada"}, "thread_id": run_id}
    return runs.a_run(**{"run_id": run_id, "tenant": tenant, **defaults, **fields})


async def count(store: BaseStore | None, name: str) -> State:
    """Count the calls for a name in the store."""
    assert store is not None
    found = await store.aget(NAMESPACE, name)
    seen = (found.value["seen"] if found else 0) + 1
    await store.aput(NAMESPACE, name, {"seen": seen})
    return {"seen": seen}


async def by_runtime(state: State, runtime: Runtime[None]) -> State:
    return await count(runtime.store, state["name"])


async def by_parameter(state: State, *, store: BaseStore) -> State:
    return await count(store, state["name"])


async def by_function(state: State) -> State:
    return await count(get_store(), state["name"])


def synchronously(state: State, runtime: Runtime[None]) -> State:
    assert runtime.store is not None
    found = runtime.store.get(NAMESPACE, state["name"])
    seen = (found.value["seen"] if found else 0) + 1
    runtime.store.put(NAMESPACE, state["name"], {"seen": seen})
    return {"seen": seen}


def one(node: Any, state: Any = State) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder


async def in_a_node(state: State) -> Any:
    """Call a graph that was compiled with a store of its own."""
    return await one(by_runtime).compile(store=InMemoryStore()).ainvoke(state)


@pytest.mark.parametrize(
    "node",
    [
        by_runtime,
        by_parameter,
        by_function,
        synchronously,
        one(by_runtime).compile(),
        one(by_runtime).compile(store=InMemoryStore()),
        in_a_node,
    ],
    ids=["runtime", "parameter", "function", "synchronous", "subgraph", "subgraph_with_store", "called_graph"],
)
async def test_store_is_that_of_the_tenant(node: Any) -> None:
    async with open_orchestrator(one(node)) as here:
        worker = here.worker()
        seen = [
            (await worker.execute(a_run(tenant))).state.output for tenant in ("acme", "acme", "other", "acme", "other")
        ]
        assert [output["seen"] for output in seen if output] == [1, 2, 1, 3, 2]


@tool
async def remember(fact: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Remember a fact."""
    known = [item.value["fact"] for item in await store.asearch(NAMESPACE)]
    await store.aput(NAMESPACE, fact, {"fact": fact})
    return ",".join(sorted(known))


async def test_tools_get_the_store_of_the_tenant() -> None:
    def call(state: Any) -> Any:
        name = state["messages"][-1].content
        return {"messages": [AIMessage("", tool_calls=[{"name": "remember", "args": {"fact": name}, "id": name}])]}

    builder = one(call, MessagesState)
    builder.add_node("tools", ToolNode([remember]))
    builder.add_edge("node", "tools")
    async with open_orchestrator(builder) as here:
        worker = here.worker()
        answers = []
        for tenant, fact in (("acme", "a"), ("acme", "b"), ("other", "c"), ("acme", "d")):
            run = await worker.execute(a_run(tenant, input={"messages": [{"role": "user", "content": fact}]}))
            assert run.state.output is not None
            answers.append(run.state.output["messages"][-1]["content"])
        assert answers == ["", "a", "", "a,b"]


async def test_error_of_the_store_ends_the_run_with_the_field() -> None:
    async def stores_nan(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        await runtime.store.aput(NAMESPACE, "ada", {"share": float("nan")})
        return {}

    async with open_orchestrator(one(stores_nan)) as here:
        run = await here.worker().execute(a_run())
        assert run.status is RunStatus.ERROR
        error = error_of(run)
        assert error.reason == "INVALID_REQUEST"
        assert [violation.field for violation in error.violations] == ["value.share"]


async def test_overtaken_worker_stores_nothing() -> None:
    """Its node is still in the middle when another worker has claimed the run and executed it again."""
    entered, is_open, outcomes = asyncio.Event(), asyncio.Event(), list[str]()

    async def slow(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        first = not entered.is_set()
        entered.set()
        while first and not is_open.is_set():
            try:
                await is_open.wait()
            except asyncio.CancelledError:
                continue  # it does not notice that it has lost the run
        try:
            await runtime.store.aput(NAMESPACE, "ada", {"by": "first" if first else "second"})
        except Exception as error:
            outcomes.append(type(error).__name__)
            raise
        return {}

    async with open_orchestrator(one(slow)) as here:
        one_worker, other = here.worker("one"), here.worker("other")
        run = await one_worker.submission.create(a_run())
        await entered.wait()
        here.advanced = LEASE_SECONDS + 1
        claimed = await other.claim()
        assert (await other.stopped(claimed)).status is RunStatus.SUCCESS
        is_open.set()
        await asyncio.gather(*one_worker.in_flight.drain(), return_exceptions=True)
        items = await here.memory.store.of(run.identity.tenant).get([(NAMESPACE, "ada")])
        assert [item.value for item in items.values()] == [{"by": "second"}]
        assert outcomes == ["Fenced"]


@pytest.mark.parametrize("cache", [None, InMemoryCache()], ids=["none", "memory"])
async def test_cached_nodes_are_cached_by_tenant(cache: Any) -> None:
    calls: Counter[str] = Counter()

    def costly(state: State) -> State:
        calls[state["name"]] += 1
        return {"seen": calls[state["name"]]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("node", costly, cache_policy=CachePolicy(ttl=60))
    builder.add_edge(START, "node")
    async with open_orchestrator(builder) as here:
        here.registry.get(GRAPH).compiled.cache = cache
        worker = here.worker()
        outputs = [(await worker.execute(a_run(tenant))).state.output for tenant in ("acme", "acme", "other", "other")]
        assert [output["seen"] for output in outputs if output] == [1, 1, 2, 2]


KEY = (("writes", "node"), "key")


def test_scopes_of_a_cache_share_nothing() -> None:
    cache: InMemoryCache[Any] = InMemoryCache()
    mine, other = ScopedCache(cache, ("acme",)), ScopedCache(cache, ("other",))
    mine.set({KEY: ("mine", None)})
    assert mine.get([KEY]) == {KEY: "mine"}
    assert other.get([KEY]) == {}
    other.set({KEY: ("other", None)})
    other.clear([KEY[0]])
    assert (mine.get([KEY]), other.get([KEY])) == ({KEY: "mine"}, {})
    with pytest.raises(ValueError):
        mine.clear()


def test_full_cache_drops_what_the_largest_tenant_used_longest_ago() -> None:
    cache = NodeCache(max_bytes=1000)
    small, large = ScopedCache(cache, ("small",)), ScopedCache(cache, ("large",))
    keys = [(("writes", "node"), str(number)) for number in range(10)]
    small.set({keys[0]: (b"x" * 100, None)})
    for key in keys:
        large.set({key: (b"x" * 200, None)})
        assert large.get(keys[:1])  # so that the first stays the last used
    assert list(small.get(keys)) == keys[:1]
    assert list(large.get(keys)) == [keys[0], *keys[-3:]]


def test_cached_result_expires() -> None:
    now = 0.0
    cache = NodeCache(clock=lambda: now)
    cache.set({(("acme", "node"), "key"): (1, 60), (("acme", "node"), "always"): (2, None)})
    now = 60.0
    assert cache.get([(("acme", "node"), "key"), (("acme", "node"), "always")]) == {(("acme", "node"), "always"): 2}


def test_result_that_cannot_be_serialized_is_not_cached() -> None:
    cache = NodeCache()
    cache.set({(("acme", "node"), "key"): (lambda: None, None), (("acme", "node"), "other"): (1, None)})
    assert cache.get([(("acme", "node"), "key"), (("acme", "node"), "other")]) == {(("acme", "node"), "other"): 1}
