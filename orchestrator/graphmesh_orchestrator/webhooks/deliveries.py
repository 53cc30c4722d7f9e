"""The port of deliveries, which is the outbox of the ends of runs, and its memory twin."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from graphmesh_chassis.errors import NotFound

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import DeliveryRow
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus

CLAIM_SECONDS = 60.0
"""How long an attempt may take; a delivery whose process has died becomes due again after it."""


class Deliveries(Protocol):
    """The deliveries of all tenants. They are added with the ends of runs (`worker/journal.py`)."""

    async def next_due(self) -> float | None:
        """Return the seconds until the first delivery is due; None where none is pending."""

    async def claim(self, limit: int, busy: Collection[str]) -> Sequence[Delivery]:
        """Claim deliveries that are due and not to `busy` hosts, the one that is due the longest first.

        Other processes claim other deliveries, and these too if no outcome is recorded within `CLAIM_SECONDS`.
        """

    async def record_success(self, attempt: Delivery) -> None:
        """Record that the receiver has accepted the delivery, unless a later attempt has begun."""

    async def record_failure(self, attempt: Delivery, error: str, backoff: float | None) -> None:
        """Record a failed attempt, unless a later one has begun. `backoff` is in seconds; None: there is no further."""

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        """Make a dead delivery due, with all its attempts; another one stays as it is. Raises NotFound."""

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Delivery]:
        """Return deliveries whose columns have these values, the newest first, from behind `before`.

        Their ids begin with `id_prefix`.
        """


class MemoryDeliveries:
    """Deliveries in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def next_due(self) -> float | None:
        due = [row["next_attempt"] for row in self._tables.deliveries.values() if _is_pending(row)]
        return min(due) - self._tables.clock() if due else None

    async def claim(self, limit: int, busy: Collection[str]) -> Sequence[Delivery]:
        now = self._tables.clock()
        due = [
            row
            for row in self._tables.deliveries.values()
            if _is_pending(row) and row["next_attempt"] <= now and row["host"] not in busy
        ]
        claimed = sorted(due, key=lambda row: row["next_attempt"])[:limit]
        for row in claimed:
            row["next_attempt"], row["attempts"] = now + CLAIM_SECONDS, row["attempts"] + 1
        return [delivery_of(row) for row in claimed]

    async def record_success(self, attempt: Delivery) -> None:
        if row := self._current(attempt):
            row.update({"status": DeliveryStatus.DELIVERED, "delivered": datetime.now(UTC), "last_error": ""})

    async def record_failure(self, attempt: Delivery, error: str, backoff: float | None) -> None:
        if row := self._current(attempt):
            row["last_error"] = error
            if backoff is None:
                row["status"] = DeliveryStatus.DEAD
            else:
                row["next_attempt"] = self._tables.clock() + backoff

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        row = self._tables.deliveries.get(delivery_id)
        if row is None or row["tenant"] != tenant:
            raise NotFound(resource="delivery", id=delivery_id)
        if row["status"] == DeliveryStatus.DEAD:
            row.update({"status": DeliveryStatus.PENDING, "attempts": 0, "next_attempt": self._tables.clock()})
        return delivery_of(row)

    async def find(
        self,
        tenant: str,
        columns: Mapping[str, str],
        before: tuple[datetime, str] | None,
        limit: int,
        id_prefix: str = "",
    ) -> Sequence[Delivery]:
        rows = [
            row
            for row in self._tables.deliveries.values()
            if row["tenant"] == tenant
            and row["delivery_id"].startswith(id_prefix)
            and all(cast(Mapping[str, Any], row)[name] == value for name, value in columns.items())
            and (before is None or (row["created"], row["delivery_id"]) < before)
        ]
        rows.sort(key=lambda row: (row["created"], row["delivery_id"]), reverse=True)
        return [delivery_of(row) for row in rows[:limit]]

    def _current(self, attempt: Delivery) -> DeliveryRow | None:
        row = self._tables.deliveries.get(attempt.delivery_id)
        return row if row and _is_pending(row) and row["attempts"] == attempt.attempts else None


def delivery_row(delivery: Delivery) -> DeliveryRow:
    return cast(DeliveryRow, asdict(delivery))


def delivery_of(row: Mapping[Any, Any]) -> Delivery:
    return Delivery(**{**row, "status": DeliveryStatus(row["status"])})


def _is_pending(row: DeliveryRow) -> bool:
    return row["status"] == DeliveryStatus.PENDING
