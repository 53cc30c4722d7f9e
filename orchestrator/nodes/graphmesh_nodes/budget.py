"""The budget of a run: its usage, checked against its limits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from graphmesh_chassis.errors import BudgetExceeded, GraphmeshError, TokenLimit

from graphmesh_nodes.errors import EffectLimit, StepLimit


@dataclass(frozen=True)
class Limits:
    """The most that a run may use, over all its resumptions; 0: no limit."""

    max_steps: int = 0
    """Nodes that are begun."""
    max_tokens: int = 0
    """Input and output tokens of models, together."""
    max_cost: int = 0
    """Cost of models, in millionths of a US dollar."""
    max_effects: int = 0
    """Effects that are begun: calls that change something, each counted once, however often it is repeated."""

    def lowered_to(self, other: "Limits") -> "Limits":
        """Return the lower one of each limit and its other."""
        pairs = {name: (limit, getattr(other, name)) for name, limit in vars(self).items()}
        return Limits(**{name: min(both) if all(both) else max(both) for name, both in pairs.items()})


@dataclass(frozen=True)
class Usage:
    """The steps, tokens and money that a run has used."""

    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    """In millionths of a US dollar."""
    effects: int = 0
    effect_keys: tuple[str, ...] = ()
    """The beginnings of the keys of these effects, where they are limited: a repeat is not counted."""


NO_LIMITS, NO_USAGE = Limits(), Usage()
KEY_CHARACTERS = 16
"""The characters of an effect key that are kept: 64 bits of a digest."""
MAX_KEYS = 256
"""The newest keys that are kept where the run itself has no limit of effects."""


class SharedBudget(Protocol):
    """A budget that a run shares with others, such as that of its tenant for a day."""

    def use(self, *, steps: int = 0, tokens: int = 0, cost: int = 0) -> None:
        """Count what the run has used; `cost` is in millionths of a US dollar."""

    @property
    def error(self) -> GraphmeshError | None:
        """The limit that is reached, as the error that ends a run; None where there is budget left."""

    def require_effect(self) -> None:
        """Raises EffectLimit where no effect may be begun, as far as that is known."""

    async def begin_effect(self) -> None:
        """Count an effect that is about to be sent. Raises EffectLimit."""


class Budget:
    """The budget of one execution of a run; `usage` begins with that of earlier executions.

    A run that exhausts its budget, or one that it shares, is ended between supersteps, so that no effect is cut off:
    `on_exhausted` is called once, at once, and lets the superstep end. From then on models are not called
    (`require_model_budget`).
    """

    def __init__(
        self,
        limits: Limits = NO_LIMITS,
        usage: Usage = NO_USAGE,
        on_exhausted: Callable[[], None] = lambda: None,
        shared: SharedBudget | None = None,
    ) -> None:
        self._limits, self.usage, self._on_exhausted, self._shared = limits, usage, on_exhausted, shared
        self._is_exhausted = False
        self._shared_error: GraphmeshError | None = None
        """The limit of the shared budget by which this execution ends, also where that renews before its end."""
        self._check()

    def begin_step(self) -> None:
        """Count a node that begins."""
        self.usage = replace(self.usage, steps=self.usage.steps + 1)
        if self._shared:
            self._shared.use(steps=1)
        self._check()

    def require_effect(self, key: str) -> None:
        """Raises EffectLimit where an effect may not be begun. A repeat of one may."""
        if self._has_begun(key):
            return
        limit, used = self._limits.max_effects, self.usage.effects
        if 0 < limit <= used:
            raise EffectLimit(limit=limit, used=used)
        if self._shared:
            self._shared.require_effect()

    async def begin_effect(self, key: str) -> None:
        """Count an effect that is about to be sent. Raises EffectLimit."""
        self.require_effect(key)
        if self._has_begun(key):
            return
        self._count_effect(key)  # before the shared budget is asked: others of the run are begun meanwhile
        try:
            if self._shared:
                await self._shared.begin_effect()
        except BaseException:
            kept = tuple(one for one in self.usage.effect_keys if one != key[:KEY_CHARACTERS])
            self.usage = replace(self.usage, effects=self.usage.effects - 1, effect_keys=kept)
            raise

    def record_model_call(self, input_tokens: int, output_tokens: int, cost: int) -> None:
        """Add the usage of one call of a model; `cost` is in millionths of a US dollar."""
        used = self.usage
        self.usage = replace(
            used,
            input_tokens=used.input_tokens + input_tokens,
            output_tokens=used.output_tokens + output_tokens,
            cost=used.cost + cost,
        )
        if self._shared:
            self._shared.use(tokens=input_tokens + output_tokens, cost=cost)
        self._check()

    @property
    def error(self) -> GraphmeshError | None:
        """The limit that is reached, as the error that ends the run; None where there is budget left."""
        limits, used = self._limits, self.usage
        if 0 < limits.max_cost <= used.cost:
            return BudgetExceeded(budget="run", limit=limits.max_cost, used=used.cost)
        if 0 < limits.max_tokens <= used.input_tokens + used.output_tokens:
            return TokenLimit(budget="run", limit=limits.max_tokens, used=used.input_tokens + used.output_tokens)
        if 0 < limits.max_steps <= used.steps:
            return StepLimit(limit=limits.max_steps, used=used.steps)
        return self._shared_error

    @property
    def model_limits(self) -> str:
        """The limits of models, as the header of a call states them; empty where there are none."""
        given = {"cost": self._limits.max_cost, "tokens": self._limits.max_tokens}
        return ",".join(f"{name}={limit}" for name, limit in given.items() if limit)

    def require_model_budget(self) -> None:
        """Raises BudgetExceeded or TokenLimit where no model may be called any more."""
        if isinstance(error := self.error, BudgetExceeded | TokenLimit):
            raise error

    def _has_begun(self, key: str) -> bool:
        return key[:KEY_CHARACTERS] in self.usage.effect_keys

    def _count_effect(self, key: str) -> None:
        keys = (*self.usage.effect_keys, key[:KEY_CHARACTERS])
        if not self._limits.max_effects:
            keys = keys[-MAX_KEYS:] if self._shared else ()
        self.usage = replace(self.usage, effects=self.usage.effects + 1, effect_keys=keys)

    def _check(self) -> None:
        if not self._shared_error and self._shared:
            self._shared_error = self._shared.error
        if not self._is_exhausted and self.error:
            self._is_exhausted = True
            self._on_exhausted()
