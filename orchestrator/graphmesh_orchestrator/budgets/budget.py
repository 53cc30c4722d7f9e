"""Budgets of tenants as the settings declare them, and what a tenant has used in a day (UTC)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from graphmesh_nodes.errors import BudgetExceeded, EffectLimit, StepLimit, TokenLimit
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX = 10**18
DAY = timedelta(days=1)
EPOCH = datetime.fromtimestamp(0, UTC)
SCOPE = "tenant"


@dataclass(frozen=True)
class Amounts:
    """What runs use."""

    steps: int = 0
    """Nodes that are begun."""
    tokens: int = 0
    """Input and output tokens of models, together."""
    cost: int = 0
    """Cost of models, in millionths of a US dollar."""
    effects: int = 0
    """Effects that are begun, repeats not counted."""

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.steps + other.steps, self.tokens + other.tokens, self.cost + other.cost, self.effects + other.effects
        )


NOTHING = Amounts()


class DailyBudget(BaseModel):
    """The most that the runs of a tenant may use in a day (UTC), each tenant for itself; 0: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int = Field(default=0, ge=0, le=MAX)
    max_tokens: int = Field(default=0, ge=0, le=MAX)
    max_cost_micro_usd: int = Field(default=0, ge=0, le=MAX)
    max_effects: int = Field(default=0, ge=0, le=MAX)
    tenants: frozenset[str] = frozenset()
    """The tenants that it applies to; empty: all of them."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if not any((self.max_steps, self.max_tokens, self.max_cost_micro_usd, self.max_effects)):
            raise ValueError("has no limit: max_steps, max_tokens, max_cost_micro_usd or max_effects")
        return self

    def applies_to(self, tenant: str) -> bool:
        return not self.tenants or tenant in self.tenants


Budgets = Mapping[str, DailyBudget]
"""The budgets by their names, which refusals state."""


def day_of(moment: datetime) -> int:
    """Return the day of a moment: the number of days since 1970 (UTC)."""
    return (moment - EPOCH) // DAY


def renewal_of(day: int) -> datetime:
    """Return when the budgets of a day begin anew."""
    return EPOCH + (day + 1) * DAY


def require_left(budgets: Budgets, used: Amounts, day: int, retry_after: float | None = None) -> None:
    """Require that no limit that ends runs, and refuses new ones, is reached.

    Effects have no such limit: a run without budget for effects may do all else.

    Raises:
        BudgetExceeded, StepLimit, TokenLimit: one is reached.
    """
    for name, budget in budgets.items():
        if 0 < (limit := budget.max_cost_micro_usd) <= used.cost:
            message = _message(name, limit, used.cost, "millionths of a US dollar", day)
            raise BudgetExceeded(message, retry_after=retry_after, **_data(name, limit, used.cost, day))
        if 0 < (limit := budget.max_tokens) <= used.tokens:
            message = _message(name, limit, used.tokens, "tokens", day)
            raise TokenLimit(message, retry_after=retry_after, **_data(name, limit, used.tokens, day))
        if 0 < (limit := budget.max_steps) <= used.steps:
            message = _message(name, limit, used.steps, "steps", day)
            raise StepLimit(message, retry_after=retry_after, **_data(name, limit, used.steps, day))


def require_effects_left(budgets: Budgets, effects: int, day: int) -> None:
    """Raises EffectLimit where no further effect may be begun."""
    for name, budget in budgets.items():
        if 0 < (limit := budget.max_effects) <= effects:
            message = f"{_message(name, limit, effects, 'effects', day)}: nothing was sent"
            raise EffectLimit(message, **_data(name, limit, effects, day))


def least_effects(budgets: Budgets) -> int:
    """Return the lowest limit of effects; 0: there is none."""
    return min((budget.max_effects for budget in budgets.values() if budget.max_effects), default=0)


def _message(name: str, limit: int, used: int, unit: str, day: int) -> str:
    start = f"The runs of the tenant have used {used} {unit} of the {limit} that the budget {name} allows in a day"
    return f"{start}; it renews at {_text(day)}"


def _data(name: str, limit: int, used: int, day: int) -> dict[str, Any]:
    return {"budget": name, "limit": limit, "used": used, "scope": SCOPE, "renews": _text(day)}


def _text(day: int) -> str:
    return f"{renewal_of(day):%Y-%m-%dT%H:%M:%SZ}"
