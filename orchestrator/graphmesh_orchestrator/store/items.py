"""The port of the store's items, and its memory twin."""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from graphmesh_chassis.errors import Fenced
from graphmesh_chassis.large_values import size_of

from graphmesh_orchestrator.checkpoints import RunEpoch
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.store.item import Address, Changes, Namespace, Put, StoredItem

Position = tuple[datetime, Namespace, str]
"""The place of an item in a listing, the last updated first."""
BATCH_ITEMS = 50
"""Items that are read at once: so many values may be in memory."""
FIRST_BATCH_ITEMS = 16
"""Items of the first batch of a listing, whose sizes are not known yet; a value has at most 1 MiB."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of values that later batches are to have: rows are decoded on the event loop."""
ELEMENT_BYTES = 16
"""The bytes that a member or an element counts for, besides its text."""


class Items(Protocol):
    """The items of one tenant. An expired item is absent."""

    async def get(self, addresses: Collection[Address]) -> Mapping[Address, StoredItem]:
        """Return the items that exist."""

    async def write(self, changes: Changes, epoch: RunEpoch | None = None) -> None:
        """Store and delete items, all or none. When it returns, the changes are durable.

        Raises:
            Fenced: `epoch` is no longer the run's; nothing is changed.
        """

    def newest(
        self,
        prefix: Namespace,
        *,
        before: Position | None = None,
        offset: int = 0,
        limit: int,
        with_vectors: bool = False,
    ) -> AsyncGenerator[Sequence[StoredItem], None]:
        """Yield the items below a namespace in batches, the last updated first, from behind `before`.

        Batches of large values have few items.
        """

    def namespaces(self, prefix: Namespace, after: Namespace = ()) -> AsyncGenerator[Namespace, None]:
        """Yield the namespaces below a namespace that have items, in order from behind `after`."""

    async def renew(self, addresses: Collection[Address]) -> None:
        """Begin the times to live of items anew."""


class Store(Protocol):
    """The items of all tenants."""

    def of(self, tenant: str) -> Items: ...

    async def delete_expired(self) -> int:
        """Delete some expired items. Returns their number. Several processes may do this at a time."""


class MemoryStore:
    """Items in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables
        self._items: dict[str, dict[Address, tuple[StoredItem, float]]] = {}
        """By tenant and address, with the time at which the item expires; 0: never."""

    def of(self, tenant: str) -> Items:
        return MemoryItems(self._tables, self._items.setdefault(tenant, {}))

    async def delete_expired(self) -> int:
        count = 0
        for items in self._items.values():
            expired = [address for address, (_, expires) in items.items() if 0 < expires <= self._tables.clock()]
            for address in expired:
                del items[address]
            count += len(expired)
        return count


class MemoryItems:
    """The items of one tenant in memory."""

    def __init__(self, tables: MemoryTables, items: dict[Address, tuple[StoredItem, float]]) -> None:
        self._tables, self._items = tables, items

    async def get(self, addresses: Collection[Address]) -> Mapping[Address, StoredItem]:
        wanted = set(addresses)
        return {item.address: item for item in self._live() if item.address in wanted}

    async def write(self, changes: Changes, epoch: RunEpoch | None = None) -> None:
        if epoch and ((run := self._tables.runs.get(epoch.run_id)) is None or run["epoch"] != epoch.epoch):
            raise Fenced(run=epoch.run_id, epoch=epoch.epoch)
        for address, put in changes.items():
            if put is None:
                self._items.pop(address, None)
            else:
                self._put(address, put)

    async def newest(
        self,
        prefix: Namespace,
        *,
        before: Position | None = None,
        offset: int = 0,
        limit: int,
        with_vectors: bool = False,
    ) -> AsyncGenerator[Sequence[StoredItem], None]:
        below = [item for item in self._live() if item.namespace[: len(prefix)] == prefix]
        below.sort(key=position_of, reverse=True)
        page = [item for item in below if before is None or position_of(item) < before][offset : offset + limit]
        size = FIRST_BATCH_ITEMS
        while batch := page[:size]:
            yield batch
            page, size = page[size:], next_batch(batch)

    async def namespaces(self, prefix: Namespace, after: Namespace = ()) -> AsyncGenerator[Namespace, None]:
        for namespace in sorted({item.namespace for item in self._live()}):
            if namespace[: len(prefix)] == prefix and namespace > after:
                yield namespace

    async def renew(self, addresses: Collection[Address]) -> None:
        for address in addresses:
            if found := self._items.get(address):
                self._items[address] = (found[0], self._expires(found[0].ttl))

    def _put(self, address: Address, put: Put) -> None:
        now, found = datetime.now(UTC), self._items.get(address)
        created = found[0].created if found else now
        item = StoredItem(*address, dict(put.value), created, now, put.ttl, put.vectors)
        self._items[address] = (item, self._expires(put.ttl))

    def _live(self) -> Iterator[StoredItem]:
        now = self._tables.clock()
        return (item for item, expires in list(self._items.values()) if not 0 < expires <= now)

    def _expires(self, ttl: float | None) -> float:
        return self._tables.clock() + ttl * 60 if ttl else 0.0


def bytes_of(items: Sequence[StoredItem]) -> int:
    """Return what the values of items have together, in bytes, as their decoding costs."""
    size = size_of(*(item.value for item in items))
    return size.bytes + ELEMENT_BYTES * size.elements


def next_batch(items: Sequence[StoredItem]) -> int:
    """Return how many items to read after a batch, if they are as large as those of that batch."""
    return max(1, min(BATCH_ITEMS, BATCH_BYTES * len(items) // max(1, bytes_of(items))))


def position_of(item: StoredItem) -> Position:
    return item.updated, item.namespace, item.key
