"""StoreService: decode, use case, encode."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import InvalidRequest, NotFound
from graphmesh_chassis.hooks import INLINE_BYTES
from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_chassis.pages import PAGE_BYTES, Page, encode_token, page_size
from graphmesh_nodes.policies import KEY as POLICY_KEY
from graphmesh_nodes.policies import NAMESPACE as POLICIES
from graphmesh_nodes.policies import policy_violations

from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.runs.convert import json_object
from graphmesh_orchestrator.store import convert
from graphmesh_orchestrator.store.embeddings import Index
from graphmesh_orchestrator.store.item import Address, Put, StoredItem, check_put, invalid
from graphmesh_orchestrator.store.items import Items, Store, bytes_of
from graphmesh_orchestrator.store.listing import MAX_FILTERED, MAX_FILTERED_BYTES, shown_namespaces
from graphmesh_orchestrator.store.matching import check_filter, matches

POLICY_SCOPES = frozenset({"policies.write"})
"""The scopes to set the policy of an agent."""


class StoreServicer(pb.StoreServiceServicer):
    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._ttl = (registry.store_ttl or {}).get("default_ttl")
        self._index = Index.of(registry.store_index) if registry.store_index else None

    async def PutItem(self, request: pb.PutItemRequest, context: Any) -> pb.PutItemResponse:
        address = convert.address_of(request)
        has_ttl = request.HasField("time_to_live")
        ttl = convert.ttl_minutes(request.time_to_live) if has_ttl else self._ttl
        is_large = request.ByteSize() > INLINE_BYTES
        put = await convert_aside(is_large, lambda: Put(json_object(request.value, "value"), ttl))
        self._check_policy(address, put)
        await convert_aside(is_large, check_put, put)
        if self._index:
            put = replace(put, vectors=await self._index.vectors(put.value))
        await self._items().write({address: put})
        return pb.PutItemResponse()

    async def GetItem(self, request: pb.GetItemRequest, context: Any) -> pb.GetItemResponse:
        address = convert.address_of(request)
        item = (await self._items().get([address])).get(address)
        if item is None:
            raise NotFound(resource="item", id=request.key)
        return pb.GetItemResponse(item=await _message_of(item))

    async def DeleteItem(self, request: pb.DeleteItemRequest, context: Any) -> pb.DeleteItemResponse:
        address = convert.address_of(request)
        _require_scope(address)
        await self._items().write({address: None})
        return pb.DeleteItemResponse()

    async def SearchItems(self, request: pb.SearchItemsRequest, context: Any) -> pb.SearchItemsResponse:
        prefix, before = convert.prefix_of(request), convert.position_of(request.page_token)
        conditions = json_object(request.filter, "filter")
        check_filter(conditions)
        page: Page[pb.Item] = Page(page_size(request.page_size), PAGE_BYTES)
        batches = self._items().newest(prefix, before=before, limit=MAX_FILTERED if conditions else page.size + 1)
        async with aclosing(batches):
            await _fill(page, batches, conditions)
        return pb.SearchItemsResponse(items=page.messages, next_page_token=page.next_token)

    async def ListNamespaces(self, request: pb.ListNamespacesRequest, context: Any) -> pb.ListNamespacesResponse:
        conditions, after = convert.conditions_of(request), convert.namespace_position(request.page_token)
        page: Page[pb.Namespace] = Page(page_size(request.page_size))
        listed = shown_namespaces(self._items(), conditions, request.max_depth or None, after)
        async with aclosing(listed):
            async for namespace in listed:
                if not page.add(pb.Namespace(labels=namespace), convert.namespace_token(namespace)):
                    break
        return pb.ListNamespacesResponse(namespaces=page.messages, next_page_token=page.next_token)

    def _check_policy(self, address: Address, put: Put) -> None:
        """Check the policy of an agent, which is an item of the tenant.

        Raises:
            ScopeMissing: the caller may run agents, but not set what they may do.
            InvalidRequest: no such agent has a policy, or a member of it breaks a rule.
        """
        (root, *graph), key = address
        if root != POLICIES:
            return
        _require_scope(address)
        declared = {one.name: one.declaration.policy for one in self._registry.all() if one.declaration}
        model = declared.get(".".join(graph))
        if model is None or key != POLICY_KEY:
            known = ", ".join(f"{POLICIES}, {name}" for name, policy in declared.items() if policy) or "none"
            raise invalid("namespace", f"{POLICIES} has the item {POLICY_KEY} of agents with a policy alone: {known}")
        if violations := policy_violations(model, put.value):
            raise InvalidRequest(violations=[replace(one, field=f"value.{one.field}") for one in violations])

    def _items(self) -> Items:
        return self._store.of(current_call().caller.tenant)


def _require_scope(address: Address) -> None:
    """Raises ScopeMissing where an item is a policy, and the caller may set none."""
    if address[0][0] == POLICIES:
        current_call().caller.require(POLICY_SCOPES)


async def _fill(page: Page[pb.Item], batches: AsyncIterator[Sequence[StoredItem]], conditions: Any) -> None:
    """Add the items that pass a filter, until the page is full or enough was read for one call."""
    count = size = 0
    async for batch in batches:
        for item in batch:
            if matches(item.value, conditions) and not page.add(await _message_of(item), convert.token_of(item)):
                return
        count, size = count + len(batch), size + bytes_of(batch)
        if conditions and (count == MAX_FILTERED or size >= MAX_FILTERED_BYTES):
            page.next_token = encode_token(*convert.token_of(batch[-1]))
            return


async def _message_of(item: StoredItem) -> pb.Item:
    return await convert_aside(is_large(item.value), convert.item_message, item)
