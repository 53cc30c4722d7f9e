"""Budgets: limits of cost and tokens for a run, a tenant or the whole service, in a day, in a month or for ever."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

RUN = "run"
"""The name of the budget that the limits of a run make."""
MIN_OUTPUT_TOKENS = 256
"""The least output that a budget has to pay for: an answer that is cut off earlier is worth nothing."""
Clock = Callable[[], datetime]
"""Returns the present instant, which decides the day of usage and the period of a budget."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Scope(Enum):
    """Whose calls share a budget."""

    RUN = "run"
    TENANT = "tenant"
    SERVICE = "service"


class Period(Enum):
    """The time after which a budget begins anew (UTC)."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"

    def begin(self, instant: datetime) -> datetime:
        """Return the beginning of the period that contains `instant`."""
        if self is Period.TOTAL:
            return datetime.fromtimestamp(0, UTC)
        midnight = instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if self is Period.DAY else midnight.replace(day=1)

    def end(self, instant: datetime) -> datetime | None:
        """Return when the period after that of `instant` begins; None: never."""
        match self:
            case Period.DAY:
                return self.begin(instant) + timedelta(days=1)
            case Period.MONTH:
                return (self.begin(instant) + timedelta(days=32)).replace(day=1)
        return None


@dataclass(frozen=True)
class Budget:
    """A limit; 0: none."""

    name: str
    scope: Scope
    period: Period
    max_cost: int = 0
    """In millionths of a US dollar."""
    max_tokens: int = 0
    tenants: frozenset[str] = frozenset()
    """The tenants that it applies to; empty: all of them."""
    aliases: frozenset[str] = frozenset()
    """The aliases that it applies to; empty: all of them."""

    def applies_to(self, tenant: str, run: str, alias: str) -> bool:
        return (
            (not self.tenants or tenant in self.tenants)
            and (not self.aliases or alias in self.aliases)
            and (self.scope is not Scope.RUN or bool(run))
        )

    def account(self, tenant: str, run: str, now: datetime) -> "Account":
        key = {Scope.RUN: f"{tenant}/{run}", Scope.TENANT: tenant, Scope.SERVICE: ""}[self.scope]
        return Account(self, key, self.period.begin(now))


@dataclass(frozen=True)
class Account:
    """The account of a budget for one run, tenant or service in one period."""

    budget: Budget
    key: str
    begin: datetime

    @property
    def renews(self) -> datetime | None:
        return self.budget.period.end(self.begin)


@dataclass(frozen=True)
class Balance:
    """The sums of an account."""

    spent_cost: int = 0
    reserved_cost: int = 0
    spent_tokens: int = 0
    reserved_tokens: int = 0


@dataclass(frozen=True)
class Need:
    """The most that an attempt can use: its input, and up to `output_tokens`."""

    input_tokens: int
    input_cost: int
    output_tokens: int
    output_micro_usd: int
    """The highest price of a million tokens of output."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost(self) -> int:
        return self.input_cost + -(-self.output_tokens * self.output_micro_usd // 1_000_000)


def affordable_output(need: Need, budget: Budget, used: Balance, *, with_reserved: bool) -> int:
    """Return the tokens of output, at most those of `need`, that a budget can pay for; negative: not even the input."""
    output = need.output_tokens
    if budget.max_tokens:
        reserved = used.reserved_tokens if with_reserved else 0
        output = min(output, budget.max_tokens - used.spent_tokens - reserved - need.input_tokens)
    if budget.max_cost:
        left = budget.max_cost - used.spent_cost - (used.reserved_cost if with_reserved else 0) - need.input_cost
        if left < 0 or (left == 0 and need.cost):
            return -1
        if need.output_micro_usd:
            output = min(output, left * 1_000_000 // need.output_micro_usd)
    return output


def is_enough(output: int, need: Need) -> bool:
    """Return whether so many tokens of output are worth a call."""
    return output >= min(MIN_OUTPUT_TOKENS, need.output_tokens) and (output > 0 or not need.output_tokens)


def applicable(budgets: Sequence[Budget], tenant: str, run: str, alias: str) -> Iterator[Budget]:
    """Yield the budgets that an attempt is held to, always in the same order, in which their rows are locked."""
    found = (budget for budget in budgets if budget.applies_to(tenant, run, alias))
    yield from sorted(found, key=lambda budget: (budget.scope.value, budget.name))
