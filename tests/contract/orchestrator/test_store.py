"""The store of a tenant in every implementation: LangGraph's interface, tenants, times to live, bounds and fencing."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
from graphmesh_chassis.database import open_database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced, InvalidRequest
from graphmesh_orchestrator.checkpoints import RunEpoch
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.store.embeddings import MAX_TEXTS, Index
from graphmesh_orchestrator.store.item import MAX_KEY_BYTES, MAX_LABELS, MAX_VALUE_BYTES, Put
from graphmesh_orchestrator.store.items import BATCH_BYTES, BATCH_ITEMS, FIRST_BATCH_ITEMS
from graphmesh_orchestrator.store.items_sql import SqlStore
from graphmesh_orchestrator.store.tenant_store import TenantStore, Writer
from graphmesh_orchestrator.threads.retention import Retention
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from tests.contract import runs
from tests.contract.orchestrator.stores import NOW, SERVED, TENANT, SqlStores, Stores

MakeStore = Callable[..., TenantStore]
DOC = {"foo": "bar"}


class AnyLease:
    """A lease that holds for `remaining` seconds."""

    remaining = math.inf


@pytest_asyncio.fixture
async def writer(stores: Stores) -> Writer:
    """The execution of a run that its worker holds."""
    run = await stores.begun(runs.a_run("run_1", created=NOW))
    return Writer(RunEpoch(run.run_id, run.state.epoch), AnyLease())


@pytest_asyncio.fixture
async def make(stores: Stores, writer: Writer) -> MakeStore:
    """Makes the store of a tenant."""

    def made(tenant: str = TENANT, ttl: TTLConfig | None = None, index: Index | None = None) -> TenantStore:
        return TenantStore(stores.store.of(tenant), writer, ttl, index)

    return made


@pytest_asyncio.fixture
async def store(make: MakeStore) -> AsyncIterator[TenantStore]:
    yield make()


async def put_all(store: TenantStore, *namespaces: tuple[str, ...]) -> None:
    for number, namespace in enumerate(namespaces):
        await store.aput(namespace, f"id_{number}", {"data": number})


def keys(items: list[SearchItem]) -> list[str]:
    return [item.key for item in items]


async def test_item_is_stored_changed_and_deleted(store: TenantStore) -> None:
    await store.aput(("test", "documents"), "doc1", {"title": "Ä", "nested": {"list": [1, 2.5, None, True]}})
    item = await store.aget(("test", "documents"), "doc1")
    assert isinstance(item, Item)
    assert (item.namespace, item.key) == (("test", "documents"), "doc1")
    assert item.value == {"title": "Ä", "nested": {"list": [1, 2.5, None, True]}}
    await store.aput(("test", "documents"), "doc1", DOC)
    changed = await store.aget(("test", "documents"), "doc1")
    assert changed is not None
    assert changed.value == DOC
    assert changed.created_at == item.created_at
    assert changed.updated_at >= item.updated_at
    assert await store.aget(("test", "other_documents"), "doc1") is None
    await store.adelete(("test", "documents"), "doc1")
    assert await store.aget(("test", "documents"), "doc1") is None


async def test_batch_reads_before_it_writes(store: TenantStore) -> None:
    """The results have the order of the operations, as of LangGraph's stores."""
    await store.aput(("test", "foo"), "key1", {"data": "value1"})
    await store.aput(("test", "bar"), "key2", {"data": "value2"})
    ops: list[Op] = [
        GetOp(("test", "foo"), "key1"),
        PutOp(("test", "bar"), "key2", {"data": "changed"}),
        GetOp(("test", "bar"), "key2"),
        SearchOp(("test",), {"data": "value1"}),
        ListNamespacesOp(limit=10),
        GetOp(("test",), "key3"),
    ]
    first, put, before, found, namespaces, absent = await store.abatch(ops)
    assert isinstance(first, Item)
    assert first.value == {"data": "value1"}
    assert (put, absent) == (None, None)
    assert isinstance(before, Item)
    assert before.value == {"data": "value2"}
    assert keys(found) == ["key1"]  # type: ignore[arg-type]
    assert namespaces == [("test", "bar"), ("test", "foo")]
    after = await store.aget(("test", "bar"), "key2")
    assert after is not None
    assert after.value == {"data": "changed"}


async def test_last_write_of_a_batch_holds(store: TenantStore) -> None:
    ops: list[Op] = [PutOp(("test",), "key", {"value": 1}), PutOp(("test",), "key", {"value": 2})]
    ops += [PutOp(("test",), "gone", DOC), PutOp(("test",), "gone", None)]
    assert await store.abatch(ops) == [None] * 4
    [item] = await store.asearch(("test",))
    assert item.value == {"value": 2}


async def test_search_finds_items_below_a_prefix_newest_first(store: TenantStore) -> None:
    for key in ("a", "b", "c"):
        await store.aput(("test", "docs"), key, DOC)
    await store.aput(("test", "docs2"), "d", DOC)
    await store.aput(("test", "docs"), "a", DOC)
    found = await store.asearch(("test", "docs"))
    assert keys(found) == ["a", "c", "b"]
    assert all(item.score is None for item in found)
    assert keys(await store.asearch(("test",), limit=2)) == ["a", "d"]
    assert keys(await store.asearch(("test",), limit=2, offset=2)) == ["c", "b"]
    assert keys(await store.asearch((), offset=3)) == ["b"]
    assert await store.asearch(("tes",)) == []
    assert keys(await store.asearch(["test", "docs"])) == ["a", "c", "b"]  # type: ignore[arg-type]  # lists pass


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"author": "Alice"}, "ac"),
        ({"author": "Alice", "kind": "doc"}, "a"),
        ({"score": {"$gt": 3.5}}, "ad"),
        ({"score": {"$gte": 3.5}}, "abd"),
        ({"score": {"$lt": 3.5}}, "c"),
        ({"score": {"$lte": 3.5}}, "bc"),
        ({"score": {"$gte": 3.2, "$lt": 4}}, "b"),
        ({"author": {"$eq": "Bob"}}, "b"),
        ({"author": {"$ne": "Alice"}}, "bde"),
        ({"tags": ["x", "y"]}, "a"),
        ({"nested": {"level": 1}}, "a"),
        ({"nested": {"level": {"$gt": 1}}}, "b"),
        ({"time": {"$gte": "2026-01-02"}}, "b"),
        ({"absent": None, "author": "Bob"}, "b"),
        ({"flag": True}, "e"),
        ({"flag": 1}, ""),
        ({"absent": {"$gt": 1}}, ""),
        ({"it's \"odd\"'); --": "x"}, "e"),
    ],
)
async def test_filters_compare_as_langgraph_documents(
    store: TenantStore, conditions: dict[str, Any], expected: str
) -> None:
    values: Mapping[str, dict[str, Any]] = {
        "a": {"author": "Alice", "kind": "doc", "score": 4.5, "tags": ["x", "y"], "nested": {"level": 1, "b": 2}},
        "b": {"author": "Bob", "score": 3.5, "tags": ["x"], "nested": {"level": 2}, "time": "2026-01-03"},
        "c": {"author": "Alice", "score": 3, "time": "2026-01-01"},
        "d": {"author": None, "score": 5},
        "e": {"score": "9", "flag": True, "it's \"odd\"'); --": "x"},
    }
    await store.abatch([PutOp(("test",), key, value) for key, value in values.items()])
    assert sorted(keys(await store.asearch(("test",), filter=conditions))) == sorted(expected)


async def test_filter_applies_before_limit_and_offset(store: TenantStore) -> None:
    count = 2 * BATCH_ITEMS + 20
    await store.abatch([PutOp(("n",), f"{n:04}", {"odd": n % 2 == 1}) for n in range(count)])
    odd = [item.key for item in await store.asearch(("n",), filter={"odd": True}, limit=1000)]
    assert len(odd) == count // 2
    pages = [await store.asearch(("n",), filter={"odd": True}, limit=7, offset=offset) for offset in range(0, 70, 7)]
    assert [item.key for page in pages for item in page] == odd


async def test_large_values_are_read_in_small_batches(stores: Stores) -> None:
    items = stores.store.of(TENANT)
    await items.write({(("n",), f"{n}"): Put({"text": "x" * BATCH_BYTES}) for n in range(FIRST_BATCH_ITEMS + 3)})
    batches = [len(batch) async for batch in items.newest(("n",), limit=1000)]
    assert batches == [FIRST_BATCH_ITEMS, 1, 1, 1]


async def test_namespaces_are_listed_by_prefix_suffix_and_depth(store: TenantStore) -> None:
    """The cases of LangGraph's own tests."""
    await put_all(
        store,
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
        ("users", "456", "settings"),
        ("admin", "users", "789"),
    )
    under_ab = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f")]
    assert await store.alist_namespaces(prefix=("a", "b")) == under_ab
    assert await store.alist_namespaces(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert await store.alist_namespaces(prefix=("a",), suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    depth_3 = [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert await store.alist_namespaces(prefix=("a", "b"), max_depth=3) == depth_3
    assert await store.alist_namespaces(prefix=("a", "b"), limit=2) == under_ab[:2]
    assert await store.alist_namespaces(prefix=("a", "b"), offset=2) == under_ab[2:]
    assert await store.alist_namespaces(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert len(await store.alist_namespaces(suffix=("*", "f"))) == 3
    assert await store.alist_namespaces(prefix=("nonexistent",)) == []
    assert await store.alist_namespaces(prefix=["users", "123"]) == [("users", "123")]  # type: ignore[arg-type]
    assert await store.alist_namespaces(prefix=("*", "users"), suffix=("*", "settings")) == []
    two = (MatchCondition("prefix", ("*", "b")), MatchCondition("prefix", ("a",)))
    assert await store.abatch([ListNamespacesOp(two)]) == [under_ab]


async def test_depth_joins_namespaces_whatever_their_characters(store: TenantStore) -> None:
    """A character that is less than a separator, such as a space, does not part what belongs together."""
    await put_all(store, ("a",), ("a", "b"), ("a b",), ("a-b", "c"), ("a", "z"), ("ä",), ("a", "ä"))
    assert await store.alist_namespaces(max_depth=1) == [("a",), ("a b",), ("a-b",), ("ä",)]


async def test_many_namespaces_are_listed_in_pages(store: TenantStore) -> None:
    await store.abatch([PutOp(("all", f"{n:04}"), "key", DOC) for n in range(1100)])
    assert await store.alist_namespaces(prefix=("all",), limit=3, offset=1097) == [
        ("all", "1097"),
        ("all", "1098"),
        ("all", "1099"),
    ]
    assert await store.alist_namespaces(max_depth=1, limit=5) == [("all",)]


async def test_deleted_items_leave_no_namespace(store: TenantStore) -> None:
    assert await store.alist_namespaces() == []
    await store.aput(("a",), "key", DOC)
    await store.adelete(("a",), "key")
    await store.adelete(("a",), "absent")
    assert await store.alist_namespaces() == []


async def test_namespaces_have_langgraphs_rules(store: TenantStore) -> None:
    for namespace in ((), ("the", "thing.about"), ("some", "fun", ""), ("langgraph", "foo"), ("nul\0",)):
        with pytest.raises(InvalidNamespaceError):
            await store.aput(namespace, "foo", DOC)
    await store.aput(("foo", "langgraph"), "bar", DOC)
    await store.abatch([PutOp(("langgraph", "foo"), "bar", DOC)])  # LangGraph reserves it for such calls
    assert keys(await store.asearch(("langgraph",))) == ["bar"]


@pytest.mark.parametrize(
    ("field", "op"),
    [
        ("namespace", PutOp((), "key", DOC)),
        ("namespace", PutOp(("n",) * (MAX_LABELS + 1), "key", DOC)),
        ("namespace", PutOp(("n" * 2000,), "key", DOC)),
        ("namespace[1]", PutOp(("a", "b\n"), "key", DOC)),
        ("namespace[1]", PutOp(("a", "\ud800"), "key", DOC)),
        ("key", PutOp(("n",), "", DOC)),
        ("key", PutOp(("n",), "k" * (MAX_KEY_BYTES + 1), DOC)),
        ("key", GetOp(("n",), "k\0")),
        ("key", PutOp(("n",), "\udfff", None)),
        ("value", PutOp(("n",), "key", [1])),  # type: ignore[arg-type]
        ("value.a.b", PutOp(("n",), "key", {"a": {"b": math.nan}})),
        ("value.a[1]", PutOp(("n",), "key", {"a": ["x", "\0"]})),
        ("value.a", PutOp(("n",), "key", {"a": "\ud800"})),
        ("value.a", PutOp(("n",), "key", {"a": NOW})),
        ("value.a", PutOp(("n",), "key", {"a": 10**400})),
        ("value[1]", PutOp(("n",), "key", {1: "a"})),  # type: ignore[dict-item]
        ("value", PutOp(("n",), "key", {"a": "x" * MAX_VALUE_BYTES})),
        ("value", PutOp(("n",), "key", {"a": [0] * 200_000})),
        ("ttl", PutOp(("n",), "key", DOC, ttl=0)),
        ("ttl", PutOp(("n",), "key", DOC, ttl=math.inf)),
        ("limit", SearchOp((), limit=0)),
        ("limit", SearchOp((), limit=10**6)),
        ("offset", SearchOp((), offset=-1)),
        ("filter.a.$in", SearchOp((), {"a": {"$in": [1]}})),
        ("filter.a.b[0].$in", SearchOp((), {"a": {"b": [{"$in": [1]}]}})),
        ("filter.a.b", SearchOp((), {"a": {"$gt": 1, "b": 2}})),
        ("filter", SearchOp((), {str(number): 1 for number in range(101)})),
        ("max_depth", ListNamespacesOp(max_depth=0)),
        ("prefix[0]", ListNamespacesOp((MatchCondition("prefix", ("a.b",)),))),
    ],
)
async def test_bad_operation_is_refused_with_its_field(store: TenantStore, field: str, op: Op) -> None:
    """Nothing of its batch is written."""
    with pytest.raises(InvalidRequest) as refused:
        await store.abatch([PutOp(("n",), "other", DOC), op])
    assert [violation.field for violation in refused.value.violations] == [field]
    assert await store.asearch(()) == []


async def test_deep_value_is_refused(store: TenantStore) -> None:
    value: dict[str, Any] = {}
    for _ in range(100):
        value = {"a": value}
    with pytest.raises(InvalidRequest, match="levels"):
        await store.aput(("n",), "key", value)


async def test_tenants_see_nothing_of_each_other(make: MakeStore) -> None:
    mine, other = make(), make("other")
    await mine.aput(("people",), "ada", {"of": "mine"})
    await other.aput(("people",), "ada", {"of": "other"})
    await other.aput(("secret",), "x", DOC)
    assert [item.value for item in await mine.asearch(())] == [{"of": "mine"}]
    assert await mine.aget(("secret",), "x") is None
    assert await mine.alist_namespaces() == [("people",)]
    await mine.adelete(("people",), "ada")
    found = await other.aget(("people",), "ada")
    assert found is not None
    assert found.value == {"of": "other"}


async def test_expired_item_is_absent_at_once_and_deleted_later(make: MakeStore, stores: Stores) -> None:
    store = make()
    await store.aput(("n",), "short", DOC, ttl=1)
    await store.aput(("n",), "long", DOC, ttl=10)
    await store.aput(("n",), "always", DOC)
    await stores.advance(59)
    assert len(await store.asearch(("n",), refresh_ttl=False)) == 3
    assert await stores.store.delete_expired() == 0
    await stores.advance(2)
    assert await store.aget(("n",), "short") is None
    assert sorted(keys(await store.asearch((), refresh_ttl=False))) == ["always", "long"]
    assert await stores.store.delete_expired() == 1
    await stores.advance(10 * 60)
    assert await stores.store.delete_expired() == 1
    assert keys(await store.asearch(())) == ["always"]


async def test_expired_namespace_is_not_listed(make: MakeStore, stores: Stores) -> None:
    store = make(ttl={"default_ttl": 1})
    await store.aput(("n",), "short", DOC)
    await stores.advance(61)
    assert await store.alist_namespaces() == []


@pytest.mark.parametrize("by_search", [False, True])
async def test_reading_begins_the_time_to_live_anew(make: MakeStore, stores: Stores, by_search: bool) -> None:
    store = make(ttl={"default_ttl": 1})
    await store.abatch([PutOp(("n",), "key", DOC, ttl=1), PutOp(("n",), "other", DOC, ttl=1)])
    for _ in range(3):
        await stores.advance(45)
        found = keys(await store.asearch(("n",), filter=DOC)) if by_search else await store.aget(("n",), "key")
        assert found
    assert (await store.aget(("n",), "other") is not None) is by_search
    await stores.advance(45)
    assert await store.aget(("n",), "key", refresh_ttl=False) is not None
    await stores.advance(45)
    assert await store.aget(("n",), "key") is None


async def test_config_turns_the_renewal_off(make: MakeStore, stores: Stores) -> None:
    store = make(ttl={"default_ttl": 1, "refresh_on_read": False})
    await store.aput(("n",), "key", DOC)
    await stores.advance(45)
    assert await store.aget(("n",), "key") is not None
    await stores.advance(45)
    assert await store.aget(("n",), "key") is None


async def test_put_replaces_the_time_to_live(make: MakeStore, stores: Stores) -> None:
    store = make()
    await store.aput(("n",), "key", DOC, ttl=1)
    await store.aput(("n",), "key", DOC)
    await stores.advance(10**6)
    assert await store.aget(("n",), "key") is not None


async def test_overtaken_worker_writes_nothing(stores: Stores, writer: Writer, store: TenantStore) -> None:
    """Its put is refused in the transaction that would store it; the new worker's is stored."""
    await store.aput(("n",), "key", {"by": "first"})
    await stores.advance(LEASE_SECONDS + 1)
    [run] = await stores.leases("other").claim(SERVED, 1)
    with pytest.raises(Fenced):
        await store.aput(("n",), "key", {"by": "overtaken"})
    with pytest.raises(Fenced):
        await store.adelete(("n",), "key")
    successor = TenantStore(stores.store.of(TENANT), Writer(RunEpoch(run.run_id, run.state.epoch), AnyLease()))
    found = await successor.aget(("n",), "key")
    assert found is not None
    assert found.value == {"by": "first"}
    await successor.aput(("n",), "key", {"by": "second"})


async def test_deleted_run_writes_nothing(stores: Stores) -> None:
    store = TenantStore(stores.store.of(TENANT), Writer(RunEpoch("absent", Epoch(1)), AnyLease()))
    with pytest.raises(Fenced):
        await store.aput(("n",), "key", DOC)


async def test_stopped_execution_writes_nothing(stores: Stores, writer: Writer) -> None:
    """A node that is left behind when its run has ended, or whose lease may be over."""
    lease = AnyLease()
    store = TenantStore(stores.store.of(TENANT), Writer(writer.epoch, lease))
    await store.aput(("n",), "key", DOC)
    lease.remaining = 0.0
    with pytest.raises(Fenced):
        await store.aput(("n",), "key", {"by": "late"})


async def test_synchronous_methods_work_in_threads(store: TenantStore) -> None:
    def use() -> list[SearchItem]:
        store.put(("n",), "key", DOC, ttl=5)
        store.put(("n",), "gone", DOC)
        store.delete(("n",), "gone")
        assert store.get(("n",), "key") is not None
        assert store.list_namespaces() == [("n",)]
        return store.search(("n",), filter=DOC)

    assert keys(await asyncio.to_thread(use)) == ["key"]


async def test_asynchronous_methods_work_in_another_loop(store: TenantStore) -> None:
    """A synchronous node may begin a loop of its own."""
    await asyncio.to_thread(lambda: asyncio.run(store.aput(("n",), "key", DOC)))
    assert await store.aget(("n",), "key") is not None


async def test_synchronous_methods_are_refused_on_the_loop(store: TenantStore) -> None:
    for call in (
        lambda: store.put(("n",), "key", DOC),
        lambda: store.get(("n",), "key"),
        lambda: store.delete(("n",), "key"),
        lambda: store.search(("n",)),
        lambda: store.list_namespaces(),
        lambda: store.batch([PutOp(("n",), "key", DOC)]),
    ):
        with pytest.raises(asyncio.InvalidStateError, match="await"):
            call()


async def test_concurrent_operations_do_not_disturb_each_other(store: TenantStore) -> None:
    async def use(number: int) -> None:
        key = f"key{number % 7}"
        await store.aput(("test", str(number % 2)), key, {"n": number})
        await store.aget(("test", str(number % 2)), key)
        await store.asearch(("test",))
        await store.adelete(("test", str(number % 2)), key)

    await asyncio.gather(*(use(number) for number in range(60)))
    assert await store.asearch(()) == []


async def test_items_survive_a_restart(sql_stores: SqlStores) -> None:
    run = await sql_stores.begun(runs.a_run("run_1", created=NOW))
    writer = Writer(RunEpoch(run.run_id, run.state.epoch), AnyLease())
    await TenantStore(sql_stores.store.of(TENANT), writer).aput(("n",), "key", DOC)
    async with open_database(sql_stores.url) as database:
        found = await TenantStore(SqlStore(database).of(TENANT), writer).aget(("n",), "key")
    assert found is not None
    assert found.value == DOC


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Count the letters of each text."""
    return [[float(text.count(letter)) for letter in LETTERS] for text in texts]


def letters(*fields: str) -> Index:
    return Index.of({"embed": embed, "dims": len(LETTERS), "fields": list(fields) or None})


async def test_query_orders_items_by_similarity(make: MakeStore) -> None:
    store = make(index=letters("text"))
    for key, text in (("dogs", "dogs"), ("zebra", "zany zebra"), ("none", "")):
        await store.aput(("n",), key, {"text": text})
    found = await store.asearch(("n",), query="zebras")
    assert keys(found) == ["zebra", "dogs", "none"]
    assert found[0].score == pytest.approx(cosine("zebras", "zany zebra"))
    assert keys(await store.asearch(("n",), query="zebras", limit=1, offset=1)) == ["dogs"]
    await store.aput(("n",), "zebra", {"text": "ink"})
    assert keys(await store.asearch(("n",), query="zebra zoo", limit=1)) == ["dogs"]
    assert keys(await store.asearch(("n",), query="")) == ["zebra", "none", "dogs"]


async def test_query_without_an_index_is_a_search_by_filter(make: MakeStore) -> None:
    store = make()
    for number in range(3):
        await store.aput(("n",), str(number), {"even": number % 2 == 0})
    found = await store.asearch(("n",), query="something alike", filter={"even": True})
    assert [(item.key, item.score) for item in found] == [("2", None), ("0", None)]


async def test_query_and_filter_apply_together(make: MakeStore) -> None:
    store = make(index=letters("text"))
    for key, text, color in (("a", "red apple", "red"), ("b", "red car", "red"), ("c", "green apple", "green")):
        await store.aput(("n",), key, {"text": text, "color": color})
    assert keys(await store.asearch(("n",), query="apple", filter={"color": "red"})) == ["a", "b"]
    assert keys(await store.asearch(("n",), query="car", filter={"color": {"$ne": "green"}})) == ["b", "a"]


async def test_item_without_vectors_follows_those_with_some(make: MakeStore) -> None:
    store = make(index=letters("text"))
    await store.aput(("n",), "a", {"text": "apple"})
    await store.aput(("n",), "b", {"text": "apple"}, index=False)
    await store.aput(("n",), "c", {"other": "apple"})
    found = await store.asearch(("n",), query="apple")
    assert [(item.key, item.score is None) for item in found] == [("a", False), ("c", True), ("b", True)]
    assert keys(await store.asearch(("n",), query="apple", limit=1)) == ["a"]


async def test_item_has_the_score_of_its_best_text(make: MakeStore) -> None:
    store = make(index=letters())
    await store.aput(("n",), "a", {"tags": ["xxx", "yyy"]}, index=["tags[*]"])
    await store.aput(("n",), "b", {"one": {"two": "xy"}}, index=["one.two"])
    await store.aput(("n",), "c", {"word": "qqq"})
    found = await store.asearch(("n",), query="yyy")
    assert keys(found)[:2] == ["a", "b"]
    assert [item.score for item in found[:2]] == pytest.approx([1.0, math.sqrt(0.5)])


async def test_vectors_of_tenants_are_apart(make: MakeStore) -> None:
    await make("other", index=letters()).aput(("n",), "theirs", {"text": "apple"})
    assert await make(index=letters()).asearch((), query="apple") == []


async def test_embedder_of_another_length_is_refused(make: MakeStore) -> None:
    store = make(index=Index.of({"embed": embed, "dims": 3}))
    with pytest.raises(InvalidRequest, match="returns 26 dimensions, and dims is 3"):
        await store.aput(("n",), "a", {"text": "apple"})
    with pytest.raises(InvalidRequest, match="returns 26 dimensions"):
        await store.asearch(("n",), query="apple")
    with pytest.raises(InvalidRequest, match="texts in the value"):
        await store.aput(("n",), "a", {"tags": ["x"] * (MAX_TEXTS + 1)}, index=["tags[*]"])


async def test_vectors_of_another_length_are_not_compared(make: MakeStore) -> None:
    """Those of an embedder that was configured before."""
    await make(index=letters()).aput(("n",), "a", {"text": "apple"})
    other = Index.of({"embed": lambda texts: [[1.0] * 5 for _ in texts], "dims": 5})
    [found] = await make(index=other).asearch(("n",), query="apple")
    assert (found.key, found.score) == ("a", None)


def cosine(one: str, other: str) -> float:
    left, right = embed([one, other])
    length = math.sqrt(sum(n * n for n in left) * sum(n * n for n in right))
    return sum(a * b for a, b in zip(left, right, strict=True)) / length


async def test_retention_deletes_expired_items(make: MakeStore, stores: Stores) -> None:
    store = make()
    await store.aput(("n",), "short", DOC, ttl=1)
    await store.aput(("n",), "always", DOC)
    await stores.advance(61)
    await Retention(stores.deletion, stores.store).poll()
    assert await stores.store.delete_expired() == 0
    assert keys(await store.asearch(())) == ["always"]
