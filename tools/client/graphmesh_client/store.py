"""The store: what graphs remember beyond their threads."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from graphmesh.orchestrator.v1 import (
    DeleteItemRequest,
    GetItemRequest,
    Item,
    ListNamespacesRequest,
    PutItemRequest,
    SearchItemsRequest,
    StoreService,
)
from graphmesh_contracts import to_struct

from graphmesh_client.calls import NO_LIMIT, Calls, duration_of

NO_FILTER: Mapping[str, Any] = {}


class Store:
    """The items of the client's tenant, which its graphs have as `runtime.store`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def put(
        self, namespace: Sequence[str], key: str, value: Mapping[str, Any], *, time_to_live: float | None = None
    ) -> None:
        """Store an item. `time_to_live` is in seconds after its last use by a graph; 0: it does not expire.

        Raises:
            NotJsonError: the value is no JSON; the path in it is named.
        """
        request = PutItemRequest(namespace=namespace, key=key, value=to_struct(value))
        if time_to_live is not None:
            request.time_to_live.CopyFrom(duration_of(time_to_live))
        await self._calls.call(StoreService.PutItem, request)

    async def get(self, namespace: Sequence[str], key: str) -> Item:
        """Raises NotFound."""
        return (await self._calls.call(StoreService.GetItem, GetItemRequest(namespace=namespace, key=key))).item

    async def delete(self, namespace: Sequence[str], key: str) -> None:
        await self._calls.call(StoreService.DeleteItem, DeleteItemRequest(namespace=namespace, key=key))

    def search(
        self, namespace_prefix: Sequence[str] = (), *, filter: Mapping[str, Any] = NO_FILTER, limit: int = NO_LIMIT
    ) -> AsyncGenerator[Item, None]:
        """Yield the items below a namespace, the last stored first.

        `filter` has members of the values, or objects of operators, as `{"score": {"$gte": 3}}`.
        """
        request = SearchItemsRequest(namespace_prefix=namespace_prefix, filter=to_struct(filter))
        return self._calls.iterate(StoreService.SearchItems, request, lambda page: page.items, limit)

    async def namespaces(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        max_depth: int = 0,
        limit: int = NO_LIMIT,
    ) -> list[tuple[str, ...]]:
        """Return the namespaces that have items, in order; `*` in a prefix or a suffix is any label."""
        request = ListNamespacesRequest(prefix=prefix, suffix=suffix, max_depth=max_depth)
        found = await self._calls.collect(StoreService.ListNamespaces, request, lambda page: page.namespaces, limit)
        return [tuple(namespace.labels) for namespace in found]
