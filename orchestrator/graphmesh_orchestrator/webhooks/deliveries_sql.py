"""Deliveries in SQL, on SQLite and PostgreSQL: the outbox of the ends of runs."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page

from graphmesh_orchestrator.db.clock import NOW, seconds_now
from graphmesh_orchestrator.db.tables import PENDING, metadata
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus

CLAIM_SECONDS = 60.0
"""How long a try may take; after it, whoever makes it is held for dead and another one is made."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("delivered", UtcDateTime),
)
_PENDING_ROWS = sa.text("status = 'pending'")
sa.Index("deliveries_by_run", deliveries.c.run_id, unique=True)
sa.Index("deliveries_by_age", deliveries.c.tenant, deliveries.c.created, deliveries.c.delivery_id)
sa.Index("deliveries_due", deliveries.c.next_attempt, sqlite_where=_PENDING_ROWS, postgresql_where=_PENDING_ROWS)


class SqlDeliveries:
    """The deliveries of all tenants. They are added where a run ends (`journal.py`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self) -> float | None:
        """Seconds until the first delivery is due; None where none is pending."""
        first = sa.select(sa.func.min(deliveries.c.next_attempt) - NOW).where(deliveries.c.status == PENDING)
        [(due,)] = await self._database.rows(first)
        return cast(float | None, due)

    async def claim(self, limit: int, busy: Collection[str]) -> list[Delivery]:
        """Take deliveries that are due and not to `busy` hosts, the one that waits longest first.

        Others get different ones, and these too if nothing is settled in time: whoever took them has died.
        """
        due = sa.and_(deliveries.c.status == PENDING, deliveries.c.next_attempt <= NOW)
        oldest = sa.select(deliveries.c.delivery_id).where(due, deliveries.c.host.not_in(list(busy)))
        chosen = oldest.order_by(deliveries.c.next_attempt).limit(limit).with_for_update(skip_locked=True).cte("chosen")
        taken = (
            sa.update(deliveries)
            .where(deliveries.c.delivery_id.in_(sa.select(chosen.c.delivery_id)))
            .values(next_attempt=seconds_now() + CLAIM_SECONDS, attempts=deliveries.c.attempts + 1)
        )
        async with self._database.transaction() as connection:
            return [_delivery(row) for row in await connection.execute(taken.returning(deliveries))]

    async def delivered(self, tried: Delivery) -> None:
        """The try was answered."""
        await self._settle(tried, status=DeliveryStatus.DELIVERED, delivered=datetime.now(UTC), last_error="")

    async def failed(self, tried: Delivery, error: str, wait: float | None) -> None:
        """The try failed; there is another one in `wait` seconds, or none."""
        if wait is None:
            await self._settle(tried, status=DeliveryStatus.DEAD, last_error=error)
        else:
            await self._settle(tried, next_attempt=seconds_now() + wait, last_error=error)

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        """Make a dead delivery due, with all its tries; another one stays as it is. Raises NotFound."""
        mine = (deliveries.c.tenant == tenant, deliveries.c.delivery_id == delivery_id)
        revived = sa.update(deliveries).where(*mine, deliveries.c.status == "dead")
        values = {"status": DeliveryStatus.PENDING, "attempts": 0, "next_attempt": seconds_now()}
        async with self._database.transaction() as connection:
            await connection.execute(revived.values(values))
            row = (await connection.execute(sa.select(deliveries).where(*mine))).one_or_none()
        if row is None:
            raise NotFound(resource="delivery", id=delivery_id)
        return _delivery(row)

    async def find(
        self, tenant: str, wanted: Mapping[str, str], before: tuple[datetime, str] | None, limit: int
    ) -> list[Delivery]:
        """Deliveries whose columns have the `wanted` values, newest first, that come after `before`."""
        match = (deliveries.c[name] == value for name, value in wanted.items())
        query = sa.select(deliveries).where(deliveries.c.tenant == tenant, *match)
        query = keyset_page(query, (deliveries.c.created, deliveries.c.delivery_id), before, limit, descending=True)
        async with self._database.read() as connection:
            return [_delivery(row) for row in await connection.execute(query)]

    async def _settle(self, tried: Delivery, **values: Any) -> None:
        """Note what came of a try, unless a later one has begun."""
        same = (deliveries.c.delivery_id == tried.delivery_id, deliveries.c.attempts == tried.attempts)
        settled = sa.update(deliveries).where(*same, deliveries.c.status == "pending")
        async with self._database.transaction() as connection:
            await connection.execute(settled.values(values))


def values_of(delivery: Delivery) -> dict[str, Any]:
    """A delivery as the columns of `deliveries`."""
    return asdict(delivery)


def _delivery(row: Any) -> Delivery:
    values = {field.name: row._mapping[field.name] for field in fields(Delivery)}
    return Delivery(**{**values, "status": DeliveryStatus(row.status)})
