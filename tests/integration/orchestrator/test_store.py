"""The store over gRPC: what graphs and clients of a tenant store, they share; no other tenant sees it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidRequest, NotFound
from graphmesh_contracts import NotJsonError, struct_value, to_struct

from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

class State(TypedDict, total=False):
    name: str
    seen: int

async def count(state, runtime: Runtime):
    found = await runtime.store.aget(("people",), state["name"])
    seen = (found.value["seen"] if found else 0) + 1
    await runtime.store.aput(("people",), state["name"], {"seen": seen})
    return {"seen": seen}

builder = StateGraph(State)
builder.add_node("count", count)
builder.add_edge(START, "count")
graph = builder.compile(store=InMemoryStore())
"""


async def seen(mesh: Mesh, name: str = "ada") -> Any:
    run = await mesh.run("counting", name=name)
    return struct_value(run.output).get("seen")


async def test_graphs_and_clients_share_the_items_of_their_tenant(tmp_path: Path) -> None:
    """Also after a restart of the orchestrator."""
    (tmp_path / "counting.py").write_text(GRAPH)
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            assert [await seen(mesh), await seen(mesh)] == [1, 2]
            async with mesh.as_new_tenant() as other:
                assert await seen(other) == 1
                assert [item.key async for item in other.client.store.search()] == ["ada"]
                await other.client.store.delete(("people",), "ada")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            assert struct_value((await mesh.client.store.get(("people",), "ada")).value) == {"seen": 2}
            await mesh.client.store.put(("people",), "ada", {"seen": 40})
            assert await seen(mesh) == 41


SIMILAR = """
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

class State(TypedDict, total=False):
    question: str
    found: list[str]

def embed(texts):
    return [[float(letter in text) for letter in "abcde"] for text in texts]

def search(state, runtime: Runtime):
    runtime.store.put(("docs",), "own", {"text": "e"})
    found = runtime.store.search(("docs",), query=state["question"], limit=2)
    return {"found": [item.key for item in found]}

builder = StateGraph(State)
builder.add_node("search", search)
builder.add_edge(START, "search")
graph = builder.compile(store=InMemoryStore(index={"dims": 5, "embed": embed, "fields": ["text"]}))
"""


async def test_graph_searches_by_the_similarity_of_its_index(tmp_path: Path) -> None:
    """Also items that a client has stored."""
    (tmp_path / "similar.py").write_text(SIMILAR)
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        for key, text in (("one", "ab"), ("two", "bc"), ("three", "cd")):
            await mesh.client.store.put(("docs",), key, {"text": text})
        run = await mesh.run("similar", question="bcd")
        assert sorted(struct_value(run.output)["found"]) == ["three", "two"]


async def test_item_is_stored_read_and_deleted(mesh: Mesh) -> None:
    async with mesh.as_new_tenant() as here:
        store = here.client.store
        value = {"text": "ä", "n": 3, "list": [1.5, None, True, {"a": {}}]}
        await store.put(("users", "ada b"), "k.1/x", value, time_to_live=3600)
        item = await store.get(("users", "ada b"), "k.1/x")
        assert (list(item.namespace), item.key, struct_value(item.value)) == (["users", "ada b"], "k.1/x", value)
        assert item.time_to_live.ToSeconds() == 3600
        assert item.create_time == item.update_time
        await store.put(("users", "ada b"), "k.1/x", {})
        changed = await store.get(("users", "ada b"), "k.1/x")
        assert not changed.HasField("time_to_live")
        assert changed.create_time == item.create_time
        assert changed.update_time.ToNanoseconds() > item.update_time.ToNanoseconds()
        async with here.as_new_tenant() as other:
            with pytest.raises(NotFound):
                await other.client.store.get(("users", "ada b"), "k.1/x")
        await store.delete(("users", "ada b"), "k.1/x")
        await store.delete(("users", "ada b"), "k.1/x")
        with pytest.raises(NotFound, match=r"item k\.1/x"):
            await store.get(("users", "ada b"), "k.1/x")


async def test_items_are_searched_in_pages(mesh: Mesh) -> None:
    async with mesh.as_new_tenant() as here:
        for number in range(12):
            await here.client.store.put(("n", str(number % 3)), f"k.{number}", {"odd": number % 2 == 1, "n": number})
        newest = [f"k.{number}" for number in reversed(range(12))]
        assert await pages_of(here, 5, page_size=5) == newest
        assert await pages_of(here, 5, page_size=5, filter=to_struct({"odd": True})) == newest[::2]
        assert await pages_of(here, 5, page_size=1, namespace_prefix=["n", "1"]) == ["k.10", "k.7", "k.4", "k.1"]
        found = here.client.store.search(("n",), filter={"n": {"$gte": 3, "$lt": 6}}, limit=2)
        assert [item.key async for item in found] == ["k.5", "k.4"]


@pytest.mark.parametrize(("bound", "value"), [("MAX_FILTERED", 4), ("MAX_FILTERED_BYTES", 40)])
async def test_search_that_reads_enough_ends_its_page(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """The next page begins where it has stopped."""
    monkeypatch.setattr("graphmesh_orchestrator.store.items_sql.FIRST_BATCH_ITEMS", 4)
    monkeypatch.setattr(f"graphmesh_orchestrator.api.store_service.{bound}", value)
    async with mesh.as_new_tenant() as here:
        for number in range(10):
            await here.client.store.put(("n",), f"{number}", {"n": number})
        request = pb.SearchItemsRequest(filter=to_struct({"n": 0}))
        first = await here.call(pb.StoreService.SearchItems, request)
        assert (len(first.items), bool(first.next_page_token)) == (0, True)
        assert await pages_of(here, 10, filter=to_struct({"n": 0})) == ["0"]


async def test_namespaces_are_listed_in_pages(mesh: Mesh) -> None:
    async with mesh.as_new_tenant() as here:
        store = here.client.store
        for labels in (("a", "b"), ("a", "b", "c"), ("a", "b c"), ("a", "d"), ("e",), ("f", "b")):
            await store.put(labels, "key", {})
        every = [("a", "b"), ("a", "b", "c"), ("a", "b c"), ("a", "d"), ("e",), ("f", "b")]
        assert await store.namespaces() == every
        assert await namespaces(here, page_size=1) == every
        assert await namespaces(here, page_size=1, max_depth=1) == [("a",), ("e",), ("f",)]
        assert await namespaces(here, page_size=2, max_depth=2, prefix=["a"]) == [("a", "b"), ("a", "b c"), ("a", "d")]
        assert await store.namespaces(prefix=("*", "b"), suffix=("b",)) == [("a", "b"), ("f", "b")]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (("PutItem", {"namespace": ["a.b"], "key": "k", "value": {}}), "namespace[0]"),
        (("PutItem", {"namespace": [], "key": "k", "value": {}}), "namespace"),
        (("PutItem", {"namespace": ["ä" * 600], "key": "k", "value": {}}), "namespace"),
        (("PutItem", {"namespace": ["a"], "key": "ä" * 300, "value": {}}), "key"),
        (("PutItem", {"namespace": ["a"], "key": "k"}), "value"),
        (("PutItem", {"namespace": ["a"], "key": "k", "value": {"a": {"b": "\0"}}}), "value.a.b"),
        (("PutItem", {"namespace": ["a"], "key": "k", "value": {"a": "x" * 1_100_000}}), "value"),
        (("SearchItems", {"filter": {"a": {"$in": [1]}}}), "filter.a.$in"),
        (("SearchItems", {"page_token": "x"}), "page_token"),
        (("ListNamespaces", {"page_token": "x"}), "page_token"),
        (("ListNamespaces", {"suffix": ["a", ""]}), "suffix[1]"),
        (("GetItem", {"namespace": ["a"], "key": ""}), "key"),
        (("DeleteItem", {"namespace": ["a"], "key": "a\nb"}), "key"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
async def test_bad_request_names_its_field(mesh: Mesh, call: tuple[str, dict[str, Any]], field: str) -> None:
    rpc = getattr(pb.StoreService, call[0])
    fields = {name: to_struct(value) if isinstance(value, dict) else value for name, value in call[1].items()}
    with pytest.raises(InvalidRequest) as refused:
        await mesh.call(rpc, rpc.request(**fields))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_client_refuses_what_is_no_json(mesh: Mesh) -> None:
    with pytest.raises(NotJsonError, match="a"):
        await mesh.client.store.put(("n",), "key", {"a": float("nan")})


async def test_tenants_do_not_wait_for_each_others_searches(mesh: Mesh) -> None:
    async with mesh.as_new_tenant() as busy, mesh.as_new_tenant() as quiet:
        for number in range(30):
            await busy.client.store.put(("n",), str(number), {"n": number})
        await quiet.client.store.put(("n",), "mine", {})
        searches = [pages_of(busy, 100, page_size=1) for _ in range(5)]
        *found, mine = await asyncio.gather(*searches, pages_of(quiet, 1))
        assert mine == ["mine"]
        assert all(len(keys) == 30 for keys in found)


async def pages_of(mesh: Mesh, limit: int, **fields: Any) -> list[str]:
    """Return the keys of at most `limit` pages of a search, which end with an empty token."""
    keys: list[str] = []
    token = ""
    for _ in range(limit):
        page = await mesh.call(pb.StoreService.SearchItems, pb.SearchItemsRequest(page_token=token, **fields))
        keys += [item.key for item in page.items]
        token = page.next_page_token
        if not token:
            return keys
    raise AssertionError("more pages than expected")


async def namespaces(mesh: Mesh, **fields: Any) -> list[tuple[str, ...]]:
    """Return the namespaces of all pages of a listing."""
    found: list[tuple[str, ...]] = []
    token = ""
    while True:
        page = await mesh.call(pb.StoreService.ListNamespaces, pb.ListNamespacesRequest(page_token=token, **fields))
        found += [tuple(namespace.labels) for namespace in page.namespaces]
        token = page.next_page_token
        if not token:
            return found


POLICY = """
from graphmesh_nodes import declare
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    days: int = Field(ge=1)
    tones: list[str]

class State(TypedDict, total=False):
    name: str

async def node(state, runtime: Runtime):
    await runtime.store.aput(("policies", "agent"), "policy", {"days": 9})

graph = StateGraph(State)
graph.add_node("node", node)
graph.add_edge(START, "node")
declare(graph, tools=(), policy=Policy)
"""


async def test_policies_of_agents_are_checked_and_no_agent_writes_them(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(POLICY)
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        store = mesh.client.store
        await store.put(("policies", "agent"), "policy", {"days": 3})
        for namespace, key, value, field in (
            (("policies", "agent"), "policy", {"days": 0}, "value.days"),
            (("policies", "agent"), "policy", {"tones": ["plain", 7]}, "value.tones.1"),
            (("policies", "agent"), "policy", {"dais": 3}, "value.dais"),
            (("policies", "agent"), "other", {"days": 3}, "namespace"),
            (("policies", "nobody"), "policy", {"days": 3}, "namespace"),
            (("policies",), "policy", {"days": 3}, "namespace"),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await store.put(namespace, key, value)
            assert [violation.field for violation in refused.value.violations] == [field]
        run = await mesh.run("agent", name="x")
        assert "no agent changes its own policy" in run.error.message
        assert struct_value((await store.get(("policies", "agent"), "policy")).value) == {"days": 3}
