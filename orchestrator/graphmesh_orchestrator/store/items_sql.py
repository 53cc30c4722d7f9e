"""The store's items in SQL, on SQLite and PostgreSQL."""

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints import RunEpoch
from graphmesh_orchestrator.db.clock import NOW, seconds_now
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.store.item import Address, Changes, Namespace, Put, StoredItem
from graphmesh_orchestrator.store.items import FIRST_BATCH_ITEMS, Items, Position, next_batch
from graphmesh_orchestrator.store.tables import HAS_EXPIRY, SEPARATOR, store_items

BATCH_NAMESPACES = 500
BATCH_ADDRESSES = 1000
BATCH_EXPIRED = 500
"""Items that one transaction deletes."""
COLUMNS = [column for column in store_items.c if column.name not in ("tenant", "expires", "vectors")]
"""The columns of an item; its vectors are read where they are compared."""
ADDRESS = sa.tuple_(store_items.c.namespace, store_items.c.key)
IS_EXPIRED = sa.and_(HAS_EXPIRY, store_items.c.expires <= NOW)
IS_LIVE = sa.or_(store_items.c.expires == 0, store_items.c.expires > NOW)
_TTL = sa.bindparam("minutes", type_=sa.Float())
_EXPIRES = sa.case((_TTL > 0, seconds_now() + _TTL * 60), else_=sa.literal_column("0.0"))


class SqlStore:
    """Items in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, tenant: str) -> Items:
        return SqlItems(self._database, tenant)

    async def delete_expired(self) -> int:
        key = sa.tuple_(*store_items.primary_key)
        expired = sa.select(*store_items.primary_key).where(IS_EXPIRED).order_by(store_items.c.expires)
        locked = expired.limit(BATCH_EXPIRED).with_for_update(skip_locked=True)
        async with self._database.transaction() as connection:
            found = [tuple(row) for row in await connection.execute(locked)]
            if found:
                await connection.execute(sa.delete(store_items).where(key.in_(found), IS_EXPIRED))
        return len(found)


class SqlItems:
    """The items of one tenant in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database, self._tenant = database, tenant

    @property
    def _is_own(self) -> sa.ColumnElement[bool]:
        return store_items.c.tenant == self._tenant

    async def get(self, addresses: Collection[Address]) -> dict[Address, StoredItem]:
        found = {}
        for some in _batches(addresses):
            query = sa.select(*COLUMNS).where(self._is_own, _is_one_of(some), IS_LIVE)
            found.update({(item := _item(row)).address: item for row in await self._database.rows(query)})
        return found

    async def write(self, changes: Changes, epoch: RunEpoch | None = None) -> None:
        puts = [self._row(*address, put) for address, put in sorted(changes.items(), key=_by_address) if put]
        deleted = [address for address, put in changes.items() if put is None]
        async with self._database.transaction() as connection:
            if epoch:
                await _require_epoch(connection, epoch)
            changed = [(row["namespace"], row["key"]) for row in puts]
            for some in _batches(deleted):
                removed = sa.delete(store_items).where(self._is_own, _is_one_of(some)).returning(*ADDRESS.clauses)
                changed += [(row.namespace, row.key) for row in await connection.execute(removed)]
            if puts:
                await connection.execute(self._upsert(), puts)
            for namespace, key in changed:
                await audit_log.record_current(connection, detail="/".join((*_decoded(namespace), key)))

    async def newest(
        self,
        prefix: Namespace,
        *,
        before: Position | None = None,
        offset: int = 0,
        limit: int,
        with_vectors: bool = False,
    ) -> AsyncGenerator[Sequence[StoredItem], None]:
        columns = (*COLUMNS, store_items.c.vectors) if with_vectors else COLUMNS
        query = sa.select(*columns).where(self._is_own, *_is_below(prefix), IS_LIVE)
        order = (store_items.c.updated, store_items.c.namespace, store_items.c.key)
        position = (before[0], encoded(before[1]), before[2]) if before else None
        size = FIRST_BATCH_ITEMS
        while limit > 0:
            size = min(limit, size)
            page = keyset_page(query, order, position, size, descending=True).offset(offset)
            rows = await self._database.rows(page)
            items = [_item(row) for row in rows]
            if items:
                yield items
            if len(items) < size:
                return
            limit, offset, size = limit - size, 0, next_batch(items)
            position = (rows[-1].updated, rows[-1].namespace, rows[-1].key)

    async def namespaces(self, prefix: Namespace, after: Namespace = ()) -> AsyncGenerator[Namespace, None]:
        query = sa.select(store_items.c.namespace).distinct().where(self._is_own, *_is_below(prefix), IS_LIVE)
        last = (encoded(after),)
        while True:
            rows = await self._database.rows(keyset_page(query, (store_items.c.namespace,), last, BATCH_NAMESPACES))
            for row in rows:
                yield _decoded(row.namespace)
            if len(rows) < BATCH_NAMESPACES:
                return
            last = (rows[-1].namespace,)

    async def renew(self, addresses: Collection[Address]) -> None:
        renewed = sa.update(store_items).values(expires=seconds_now() + store_items.c.ttl * 60)
        async with self._database.transaction() as connection:
            for some in _batches(addresses):
                await connection.execute(renewed.where(self._is_own, _is_one_of(some), HAS_EXPIRY, IS_LIVE))

    def _row(self, namespace: Namespace, key: str, put: Put) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "tenant": self._tenant,
            "namespace": encoded(namespace),
            "key": key,
            "value": dict(put.value),
            "created": now,
            "updated": now,
            "ttl": put.ttl,
            "vectors": put.vectors or None,
            "minutes": put.ttl or 0.0,
        }

    def _upsert(self) -> sa.Insert:
        insert = self._database.insert(store_items).values(expires=_EXPIRES)
        changed = {name: insert.excluded[name] for name in ("value", "updated", "ttl", "expires", "vectors")}
        return insert.on_conflict_do_update(index_elements=store_items.primary_key, set_=changed)


async def _require_epoch(connection: AsyncConnection, epoch: RunEpoch) -> None:
    """Lock the run's row, so that its epoch is current until the commit. Raises Fenced."""
    query = sa.select(runs.c.epoch).where(runs.c.run_id == epoch.run_id).with_for_update(key_share=True)
    if (await connection.execute(query)).scalar() != epoch.epoch:
        raise Fenced(run=epoch.run_id, epoch=epoch.epoch)


def encoded(namespace: Namespace) -> str:
    return "".join(label + SEPARATOR for label in namespace)


def _decoded(namespace: str) -> Namespace:
    return tuple(namespace.split(SEPARATOR)[:-1])


def _is_below(prefix: Namespace) -> Sequence[sa.ColumnElement[bool]]:
    if not prefix:
        return ()
    first = encoded(prefix)
    behind = first[:-1] + chr(ord(SEPARATOR) + 1)
    return store_items.c.namespace >= first, store_items.c.namespace < behind


def _batches(addresses: Collection[Address]) -> Iterator[Sequence[Address]]:
    """Yield addresses in batches, for which a statement may have parameters."""
    listed = sorted(addresses)
    return (listed[start : start + BATCH_ADDRESSES] for start in range(0, len(listed), BATCH_ADDRESSES))


def _is_one_of(addresses: Collection[Address]) -> sa.ColumnElement[bool]:
    return ADDRESS.in_([(encoded(namespace), key) for namespace, key in addresses])


def _by_address(change: tuple[Address, Put | None]) -> Address:
    """The order in which rows are locked: two transactions that write the same ones do not wait for each other."""
    return change[0]


def _item(row: sa.Row[Any]) -> StoredItem:
    vectors = getattr(row, "vectors", None) or b""
    return StoredItem(_decoded(row.namespace), row.key, row.value, row.created, row.updated, row.ttl, vectors)
