"""What a run has used, held against what it may use (B6)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from graphmesh_chassis.errors import GraphmeshError

from graphmesh_nodes.errors import BudgetExceeded, StepLimit, TokenLimit


@dataclass(frozen=True)
class Ceilings:
    """What a run may use, over all its resumptions; 0: no bound (B6)."""

    max_steps: int = 0
    """Nodes that are begun."""
    max_tokens: int = 0
    """That models read and write."""
    max_cost: int = 0
    """Of models, in millionths of a US dollar."""


@dataclass(frozen=True)
class Usage:
    """What a run has used."""

    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    """In millionths of a US dollar."""


UNBOUNDED, UNUSED = Ceilings(), Usage()


class Meter:
    """The meter of one execution of a run; it goes on from what earlier ones used.

    A bound is reached between supersteps: `reached` is called once, and lets the superstep end. Models are not called
    any more from then on (`require`).
    """

    def __init__(
        self, ceilings: Ceilings = UNBOUNDED, usage: Usage = UNUSED, reached: Callable[[], None] = lambda: None
    ) -> None:
        self._ceilings, self.usage, self._reached = ceilings, usage, reached
        if self.error:
            reached()

    def begin_step(self) -> None:
        """A node begins."""
        self._use(replace(self.usage, steps=self.usage.steps + 1))

    def spend(self, input_tokens: int, output_tokens: int, cost: int) -> None:
        """A model was called; `cost` is in millionths of a US dollar."""
        used = self.usage
        self._use(
            replace(
                used,
                input_tokens=used.input_tokens + input_tokens,
                output_tokens=used.output_tokens + output_tokens,
                cost=used.cost + cost,
            )
        )

    @property
    def error(self) -> GraphmeshError | None:
        """Which bound is reached."""
        bounds, used = self._ceilings, self.usage
        if 0 < bounds.max_cost <= used.cost:
            return BudgetExceeded(limit=bounds.max_cost, used=used.cost)
        if 0 < bounds.max_tokens <= used.input_tokens + used.output_tokens:
            return TokenLimit(limit=bounds.max_tokens, used=used.input_tokens + used.output_tokens)
        if 0 < bounds.max_steps <= used.steps:
            return StepLimit(limit=bounds.max_steps, used=used.steps)
        return None

    def require(self) -> None:
        """Raises BudgetExceeded or TokenLimit, where no model may be called any more."""
        if isinstance(error := self.error, BudgetExceeded | TokenLimit):
            raise error

    def _use(self, usage: Usage) -> None:
        had = self.error
        self.usage = usage
        if had is None and self.error is not None:
            self._reached()
