"""The budgets of tenants in this process: what its runs use, and what all have used."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_chassis.tenant_turns import work_for_all

from graphmesh_orchestrator.budgets.budget import (
    NOTHING,
    Amounts,
    Budgets,
    day_of,
    least_effects,
    renewal_of,
    require_effects_left,
    require_left,
)
from graphmesh_orchestrator.budgets.daily_usage import KEPT_DAYS, DailyUsage
from graphmesh_orchestrator.db.database_clock import Now
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs, is_repeat

log = structlog.get_logger("graphmesh.budgets")

STORE_SECONDS: Final = 1.0
"""Between two writes of what runs have used, and the age at which the sums are read again."""

MAX_TAKEN: Final = 16
"""The most effects that a process takes at a time."""
SHARES: Final = 16
"""It takes this part of those that are left, so that several processes can."""


class TenantBudget:
    """The budgets of one tenant, which its runs in this process share: see `SharedBudget`.

    Effects are counted in the database before they are begun, so that there is never one too many: one by one, or some
    at a time while many are left, of which those that are not begun are given back. All else is added to its sums once
    in `STORE_SECONDS`, since no node waits for that; so processes know of each other with that delay.
    """

    def __init__(self, tenant: str, budgets: Budgets, usage: DailyUsage, now: Now, used: Callable[[str], None]) -> None:
        """`used` is called with the tenant when there is something to store."""
        self.tenant, self.budgets, self._usage, self._now, self._used = tenant, budgets, usage, now, used
        self._day, self._stored, self._pending, self._being_stored = 0, NOTHING, NOTHING, NOTHING
        self._taken, self._taken_on, self._taking = 0, 0, asyncio.Lock()
        """The effects that were taken of the database and are not begun, and their day."""
        self.reading, self.stores = asyncio.Lock(), 0
        """Held while the sums are read; how often `take` was called."""
        self.read_at = float("-inf")
        """When the sums were read, by the monotonic clock."""

    def use(self, *, steps: int = 0, tokens: int = 0, cost: int = 0) -> None:
        self._pending += Amounts(steps, tokens, cost)
        self._used(self.tenant)

    @property
    def day(self) -> int:
        """Today, by the database's clock."""
        return day_of(self._now())

    @property
    def today(self) -> Amounts:
        """What the runs of the tenant have used today, as far as this process knows."""
        stored = self._stored if self._day == self.day else NOTHING
        return stored + self._being_stored + self._pending + Amounts(effects=-self._free_effects)

    @property
    def error(self) -> GraphmeshError | None:
        try:
            require_left(self.budgets, self.today, self.day)
        except GraphmeshError as error:
            return error
        return None

    def require(self) -> None:
        """Raises BudgetExceeded, StepLimit, TokenLimit, with the time until the budget renews."""
        day = self.day
        require_left(self.budgets, self.today, day, (renewal_of(day) - self._now()).total_seconds())

    def require_effect(self) -> None:
        require_effects_left(self.budgets, self.today.effects, self.day)

    async def begin_effect(self) -> None:
        """Raises EffectLimit, DatabaseUnavailable."""
        if not least_effects(self.budgets):
            self._pending += Amounts(effects=1)
            self._used(self.tenant)
            return
        async with self._taking:
            if not self._free_effects:
                await self._take_effects()
            self._taken -= 1

    async def _take_effects(self) -> None:
        """Take effects of the database: several at a time while many are left. Raises as `begin_effect`."""
        day, limit = self.day, least_effects(self.budgets)
        many = min(MAX_TAKEN, (limit - self.today.effects) // SHARES)
        for count in (many, 1) if many > 1 else (1,):
            if (sum_after := await self._usage.begin_effects(day, self.tenant, count, limit)) is not None:
                self._taken, self._taken_on = count, day
                self._know_effects(day, sum_after)
                return self._used(self.tenant)
        self._know_effects(day, limit)
        require_effects_left(self.budgets, limit, day)
        return None

    @property
    def _free_effects(self) -> int:
        """Effects of today that are taken and not begun."""
        return self._taken if self._taken_on == self.day else 0

    @property
    def is_stored(self) -> bool:
        """Whether there is nothing to store."""
        return self._pending == self._being_stored == NOTHING and not self._free_effects

    def take(self) -> Amounts:
        """Return what is to be stored; effects that were taken and not begun are given back."""
        self.stores += 1
        self._pending += Amounts(effects=-self._free_effects)
        self._taken = 0
        self._being_stored, self._pending = self._being_stored + self._pending, NOTHING
        return self._being_stored

    def stored(self, day: int, sums: Amounts) -> None:
        """Take the sums that are stored, with what `take` has returned."""
        self._day, self._stored, self._being_stored, self.read_at = day, sums, NOTHING, time.monotonic()

    def is_unchanged_since(self, stores: int) -> bool:
        """Whether nothing was or is being stored since `stores` had this value."""
        return self.stores == stores and self._being_stored == NOTHING

    def read(self, day: int, sums: Amounts) -> None:
        """Take the sums that are stored, without anything that is pending."""
        self._day, self._stored, self.read_at = day, sums, time.monotonic()

    def _know_effects(self, day: int, effects: int) -> None:
        known = self._stored if self._day == day else NOTHING
        self._day, self._stored = day, replace(known, effects=effects)


class TenantBudgets:
    """The budgets of all tenants."""

    def __init__(self, budgets: Budgets, usage: DailyUsage, runs: Runs, now: Now) -> None:
        """`now` is the database's clock, so that all processes have the same day."""
        self._budgets, self._usage, self._runs, self._now = budgets, usage, runs, now
        self._known: WeakValueDictionary[str, TenantBudget] = WeakValueDictionary()
        self._used: dict[str, TenantBudget] = {}
        """The budgets whose runs have used something that is not stored yet, or that were read a moment ago."""
        self._storing = asyncio.Lock()
        self._pruned = 0

    async def of(self, tenant: str) -> TenantBudget | None:
        """Return the budgets of a tenant, with sums that are at most a second old; None where it has none.

        While the database is unavailable the sums are those that this process knows.
        """
        held = {name: budget for name, budget in self._budgets.items() if budget.applies_to(tenant)}
        if not held:
            return None
        known = self._known.get(tenant) or TenantBudget(tenant, held, self._usage, self._now, self._keep)
        self._known[tenant] = known
        self._keep(tenant)
        if _is_old(known):
            try:
                await self._read(known)
            except DependencyError as error:
                log.warning("budgets not read", tenant=tenant, reason=error.reason)
        return known

    async def require(self, tenant: str, requested: Run | None = None) -> None:
        """Require budget for a run that is to be created, or to be resumed.

        The repeat of a request that has created its run needs none.

        Raises:
            BudgetExceeded, StepLimit, TokenLimit: a budget is used up, with the time of its renewal.
        """
        budget = await self.of(tenant)
        if budget and budget.error and not (requested and await is_repeat(requested, self._runs)):
            budget.require()

    async def run(self) -> None:
        """Store what runs have used, until cancelled."""
        set_current(None)
        work_for_all()
        while True:
            try:
                await self.store()
                await self._prune()
            except DependencyError as error:
                log.warning("usage of budgets not stored", reason=error.reason)
            await asyncio.sleep(STORE_SECONDS)

    async def store(self) -> None:
        """Store what runs have used, and read what others have. Raises DatabaseUnavailable; nothing is lost then."""
        async with self._storing:
            used = {tenant: budget for tenant, budget in self._used.items() if not budget.is_stored}
            self._used, day = {}, day_of(self._now())
            if not used:
                return
            try:
                sums = await self._usage.add(day, {tenant: budget.take() for tenant, budget in used.items()})
            except BaseException:
                self._used = used | self._used
                raise
            for tenant, budget in used.items():
                budget.stored(day, sums[tenant])

    async def _read(self, budget: TenantBudget) -> None:
        async with budget.reading:
            if _is_old(budget):
                day, stores = budget.day, budget.stores
                sums = await self._usage.of(day, budget.tenant)
                if budget.is_unchanged_since(stores):  # else what is being stored would count twice, or not at all
                    budget.read(day, sums)

    async def _prune(self) -> None:
        if self._pruned < (before := day_of(self._now()) - KEPT_DAYS):
            await self._usage.delete_before(before)
            self._pruned = before

    def _keep(self, tenant: str) -> None:
        self._used[tenant] = self._known[tenant]


def _is_old(budget: TenantBudget) -> bool:
    return time.monotonic() - budget.read_at >= STORE_SECONDS
