"""Deliveries in SQL, on SQLite and PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page

from graphmesh_orchestrator.db.clock import NOW, seconds_now
from graphmesh_orchestrator.db.id_prefixes import begins_with
from graphmesh_orchestrator.db.tables import deliveries, literal
from graphmesh_orchestrator.webhooks.deliveries import CLAIM_SECONDS, delivery_of
from graphmesh_orchestrator.webhooks.delivery import MAX_WAIT_SECONDS, Delivery, DeliveryStatus

PENDING = deliveries.c.status == literal(DeliveryStatus.PENDING)
_IS_TOO_LATE = deliveries.c.next_attempt > NOW + MAX_WAIT_SECONDS
"""The clock jumped back after the next attempt was scheduled: no wait is that long."""


class SqlDeliveries:
    """Deliveries in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self) -> float | None:
        next_attempt = sa.case((_IS_TOO_LATE, 0.0), else_=deliveries.c.next_attempt)
        first = sa.select(sa.func.min(next_attempt) - NOW).where(PENDING)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def claim(self, limit: int, busy: Collection[str]) -> Sequence[Delivery]:
        is_due = sa.or_(deliveries.c.next_attempt <= NOW, _IS_TOO_LATE)
        due = sa.and_(PENDING, is_due)
        oldest = sa.select(deliveries.c.delivery_id).where(due, deliveries.c.host.not_in(list(busy)))
        chosen = oldest.order_by(deliveries.c.next_attempt).limit(limit).with_for_update(skip_locked=True).cte("chosen")
        claimed = (
            sa.update(deliveries)
            .where(deliveries.c.delivery_id.in_(sa.select(chosen.c.delivery_id)))
            .values(next_attempt=seconds_now() + CLAIM_SECONDS, attempts=deliveries.c.attempts + 1)
        )
        async with self._database.transaction() as connection:
            return [delivery_of(row._mapping) for row in await connection.execute(claimed.returning(deliveries))]

    async def record_success(self, attempt: Delivery) -> None:
        await self._record(attempt, status=DeliveryStatus.DELIVERED, delivered=datetime.now(UTC), last_error="")

    async def record_failure(self, attempt: Delivery, error: str, backoff: float | None) -> None:
        if backoff is None:
            await self._record(attempt, status=DeliveryStatus.DEAD, last_error=error)
        else:
            await self._record(attempt, next_attempt=seconds_now() + backoff, last_error=error)

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        match = (deliveries.c.tenant == tenant, deliveries.c.delivery_id == delivery_id)
        revived = sa.update(deliveries).where(*match, deliveries.c.status == DeliveryStatus.DEAD)
        values = {"status": DeliveryStatus.PENDING, "attempts": 0, "next_attempt": seconds_now()}
        async with self._database.transaction() as connection:
            await connection.execute(revived.values(values))
            row = (await connection.execute(sa.select(deliveries).where(*match))).one_or_none()
        if row is None:
            raise NotFound(resource="delivery", id=delivery_id)
        return delivery_of(row._mapping)

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Delivery]:
        matching = (deliveries.c[name] == value for name, value in columns.items())
        query = sa.select(deliveries).where(deliveries.c.tenant == tenant, *matching)
        query = query.where(*begins_with(deliveries.c.delivery_id, id_prefix))
        query = keyset_page(query, (deliveries.c.created, deliveries.c.delivery_id), before, limit, descending=True)
        async with self._database.read() as connection:
            return [delivery_of(row._mapping) for row in await connection.execute(query)]

    async def _record(self, attempt: Delivery, **values: Any) -> None:
        match = (deliveries.c.delivery_id == attempt.delivery_id, deliveries.c.attempts == attempt.attempts)
        async with self._database.transaction() as connection:
            await connection.execute(sa.update(deliveries).where(*match, PENDING).values(values))
