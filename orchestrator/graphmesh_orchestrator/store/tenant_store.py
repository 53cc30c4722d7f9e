"""The store of a tenant as LangGraph's `BaseStore`: what nodes get as `runtime.store`."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import structlog
from graphmesh_chassis.errors import DatabaseUnavailable, Fenced
from graphmesh_chassis.large_values import convert_aside, is_large, size_of
from graphmesh_chassis.own_loop import OwnLoop
from graphmesh_nodes.context import Lease
from graphmesh_nodes.policies import NAMESPACE as POLICIES
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from graphmesh_orchestrator.checkpoints import RunEpoch
from graphmesh_orchestrator.store.embeddings import Index
from graphmesh_orchestrator.store.item import (
    Address,
    Changes,
    Namespace,
    Put,
    StoredItem,
    check_address,
    check_namespace,
    check_put,
    invalid,
)
from graphmesh_orchestrator.store.items import BATCH_ITEMS, Items
from graphmesh_orchestrator.store.listing import MAX_FILTERED, shown_namespaces
from graphmesh_orchestrator.store.matching import check_filter, matches

log = structlog.get_logger("graphmesh.store")

MAX_RESULTS = 10_000
"""The largest `limit`, and the largest `offset`."""
MAX_RESULT_BYTES = 32 * 1024 * 1024
"""The most bytes of the values that a search returns."""
RETRY_SECONDS = 0.5
"""The wait between two attempts to reach the database."""


@dataclass(frozen=True)
class Writer:
    """The execution of a run that uses a store: it writes only while it is current."""

    epoch: RunEpoch
    lease: Lease

    def check(self) -> None:
        """Raises Fenced: the lease is over, or the run has stopped."""
        if self.lease.remaining <= 0:
            raise Fenced(run=self.epoch.run_id, epoch=self.epoch.epoch)


class TenantStore(BaseStore):
    """The items of one tenant, for one execution of a run.

    Its errors are those of the mesh: InvalidRequest with the field and the rule, Fenced where the run is another
    worker's by now. While the database is unavailable, it waits.
    """

    supports_ttl = True

    def __init__(self, items: Items, writer: Writer, ttl: TTLConfig | None = None, index: Index | None = None) -> None:
        self._items, self._writer, self.ttl_config, self._index = items, writer, ttl, index
        self._is_warned = False
        self._loop = OwnLoop(
            "a synchronous method of the store is called on the event loop: await its asynchronous form, such as "
            "`await store.aget(...)` for `store.get(...)`"
        )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """As `abatch`, from a thread.

        Raises:
            InvalidStateError: it is called on the event loop, which would wait for itself.
        """
        return self._loop.wait(self._batch(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations: first those that read, then the writes, in one transaction."""
        return await self._loop.execute(self._batch(ops))

    async def _batch(self, ops: Iterable[Op]) -> list[Result]:
        listed = [await self._checked(op) for op in ops]
        changes = {(op.namespace, op.key): await self._put(op) for op in listed if isinstance(op, PutOp)}
        while True:
            try:
                self._writer.check()
                return await self._execute(listed, changes)
            except DatabaseUnavailable as error:
                log.warning("the store waits for its database", reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS)

    async def _checked(self, op: Op) -> Op:
        """Return an operation whose namespaces are tuples. Raises InvalidRequest, with the field."""
        match op:
            case GetOp():
                op = op._replace(namespace=tuple(op.namespace))
                check_address((op.namespace, op.key))
            case PutOp():
                op = op._replace(namespace=tuple(op.namespace))
                check_address((op.namespace, op.key))
                if op.namespace[0] == POLICIES:
                    raise invalid("namespace", f"{POLICIES} is set by clients: no agent changes its own policy")
                if op.value is not None:
                    await convert_aside(is_large(op.value), check_put, Put(op.value, op.ttl))
            case SearchOp():
                op = op._replace(namespace_prefix=tuple(op.namespace_prefix))
                check_namespace(op.namespace_prefix, "namespace_prefix")
                check_filter(op.filter or {})
                _check_page(op.limit, op.offset)
            case ListNamespacesOp():
                for condition in op.match_conditions or ():
                    check_namespace(tuple(condition.path), condition.match_type)
                _check_page(op.limit, op.offset)
                if op.max_depth is not None and op.max_depth < 1:
                    raise invalid("max_depth", "has to be at least 1")
            case _:
                raise invalid("ops", f"has a {type(op).__name__}, which is no operation of a store")
        return op

    async def _execute(self, ops: Sequence[Op], changes: Changes) -> list[Result]:
        found = await self._get([op for op in ops if isinstance(op, GetOp)])
        results: list[Result] = []
        for op in ops:
            match op:
                case GetOp():
                    item = found.get((op.namespace, op.key))
                    results.append(Item(**_columns(item)) if item else None)
                case SearchOp():
                    results.append(await self._search(op))
                case ListNamespacesOp():
                    results.append(await self._list_namespaces(op))
                case PutOp():
                    results.append(None)
        if changes:
            await self._items.write(changes, self._writer.epoch)
        return results

    async def _get(self, ops: Sequence[GetOp]) -> dict[Address, StoredItem]:
        if not ops:
            return {}
        found = dict(await self._items.get({(op.namespace, op.key) for op in ops}))
        renewing = {(op.namespace, op.key) for op in ops if op.refresh_ttl}
        await self._renew([item for item in found.values() if item.address in renewing])
        return found

    async def _put(self, op: PutOp) -> Put | None:
        """Return the value of an operation with its vectors; None where it deletes."""
        if op.value is None:
            return None
        fields = op.index or None
        vectors = await self._index.vectors(op.value, fields) if self._index and op.index is not False else b""
        return Put(op.value, op.ttl, vectors)

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.query and not self._index and not self._is_warned:
            self._is_warned = True
            log.warning("search not ranked: the store has no index of embeddings", namespace=op.namespace_prefix)
        if op.query and self._index:
            ranked = await self._ranked(op, self._index)
        else:
            ranked = [(item, None) for item in await self._newest(op)]
        if op.refresh_ttl:
            await self._renew([item for item, _ in ranked])
        return [SearchItem(**_columns(item), score=score) for item, score in ranked]

    async def _newest(self, op: SearchOp) -> list[StoredItem]:
        found: list[StoredItem] = []
        size = 0
        async with aclosing(self._found(op)) as items:
            async for item in items:
                size += size_of(item.value).bytes
                _check_size(size, op.limit)
                found.append(item)
                if len(found) == op.limit:
                    break
        return found

    async def _ranked(self, op: SearchOp, index: Index) -> list[tuple[StoredItem, float | None]]:
        """Return the items that are the most similar to the query, then items without vectors."""
        query, read = await index.query(op.query or ""), 0
        scored: list[tuple[float, Address]] = []
        others: list[Address] = []
        pages = self._items.newest(op.namespace_prefix, limit=MAX_FILTERED + 1, with_vectors=True)
        async with aclosing(pages):
            async for page in pages:
                read += len(page)
                _check_read(read)
                matching = [item for item in page if matches(item.value, op.filter or {})]
                scores = await convert_aside(True, index.scores, query, [item.vectors for item in matching])
                for item, score in zip(matching, scores, strict=True):
                    if score is None:
                        others.append(item.address)
                    else:
                        scored.append((score, item.address))
        best = nlargest(op.offset + op.limit, scored, key=lambda one: one[0])[op.offset :]
        ranked: dict[Address, float | None] = {address: score for score, address in best}
        ranked |= dict.fromkeys(others[: op.limit - len(ranked)])
        return [(item, ranked[item.address]) for item in await self._read(list(ranked), op.limit)]

    async def _read(self, addresses: Sequence[Address], limit: int) -> list[StoredItem]:
        """Return the items that exist, in this order."""
        items: list[StoredItem] = []
        size = 0
        for start in range(0, len(addresses), BATCH_ITEMS):
            some = addresses[start : start + BATCH_ITEMS]
            found = await self._items.get(some)
            items += [found[address] for address in some if address in found]
            size += sum(size_of(item.value).bytes for item in found.values())
            _check_size(size, limit)
        return items

    async def _found(self, op: SearchOp) -> AsyncGenerator[StoredItem, None]:
        """Yield the items of a search from its offset on."""
        if not op.filter:
            pages = self._items.newest(op.namespace_prefix, offset=op.offset, limit=op.limit)
        else:
            pages = self._items.newest(op.namespace_prefix, limit=MAX_FILTERED + 1)
        read, skipped = 0, 0
        async with aclosing(pages):
            async for page in pages:
                for item in page:
                    read += 1
                    if not op.filter:
                        yield item
                        continue
                    _check_read(read)
                    if matches(item.value, op.filter):
                        skipped += 1
                        if skipped > op.offset:
                            yield item

    async def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        found: list[Namespace] = []
        async with aclosing(shown_namespaces(self._items, op.match_conditions or (), op.max_depth)) as namespaces:
            async for namespace in namespaces:
                found.append(namespace)
                if len(found) == op.offset + op.limit:
                    break
        return found[op.offset :]

    async def _renew(self, items: Sequence[StoredItem]) -> None:
        if expiring := [item.address for item in items if item.ttl]:
            await self._items.renew(expiring)


def _check_read(count: int) -> None:
    if count > MAX_FILTERED:
        rule = f"has more than {MAX_FILTERED} items below it, so many a search reads: name more labels"
        raise invalid("namespace_prefix", rule)


def _check_size(size: int, limit: int) -> None:
    if size > MAX_RESULT_BYTES:
        raise invalid("limit", f"is {limit}, the items have more than {MAX_RESULT_BYTES} bytes together")


def _check_page(limit: int, offset: int) -> None:
    if not 0 < limit <= MAX_RESULTS:
        raise invalid("limit", f"is {limit}, it has to be from 1 to {MAX_RESULTS}")
    if not 0 <= offset <= MAX_RESULTS:
        raise invalid("offset", f"is {offset}, it has to be from 0 to {MAX_RESULTS}")


def _columns(item: StoredItem) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": dict(item.value),
        "created_at": item.created,
        "updated_at": item.updated,
    }
