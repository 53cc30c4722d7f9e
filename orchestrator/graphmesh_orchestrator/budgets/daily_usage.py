"""Port of what tenants have used in a day, and its memory twin."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from graphmesh_orchestrator.budgets.budget import NOTHING, Amounts

KEPT_DAYS = 31
"""The days for which usage is kept."""


class DailyUsage(Protocol):
    """The sums of tenants by day, which all processes over a database share. A day is the number since 1970 (UTC)."""

    async def add(self, day: int, used: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        """Add to the sums of tenants, and return them."""

    async def of(self, day: int, tenant: str) -> Amounts:
        """Return the sums of a tenant."""

    async def begin_effects(self, day: int, tenant: str, count: int, limit: int) -> int | None:
        """Count effects, and return the sum; None where it would exceed `limit`. Exact over processes."""

    async def delete_before(self, day: int) -> None:
        """Delete the sums of the days before."""


class MemoryDailyUsage:
    """Sums in memory."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, str], Amounts] = {}

    async def add(self, day: int, used: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        for tenant, amounts in used.items():
            self._sums[day, tenant] = self._sums.get((day, tenant), NOTHING) + amounts
        return {tenant: self._sums[day, tenant] for tenant in used}

    async def of(self, day: int, tenant: str) -> Amounts:
        return self._sums.get((day, tenant), NOTHING)

    async def begin_effects(self, day: int, tenant: str, count: int, limit: int) -> int | None:
        used = await self.of(day, tenant)
        if used.effects + count > limit:
            return None
        self._sums[day, tenant] = replace(used, effects=used.effects + count)
        return used.effects + count

    async def delete_before(self, day: int) -> None:
        self._sums = {key: used for key, used in self._sums.items() if key[0] >= day}
