"""The prices of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from graphmesh_model.domain import Usage

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Prices in millionths of a US dollar for a million tokens, integers as all money here."""

    input_micro_usd: int
    output_micro_usd: int
    cached_input_micro_usd: int
    cache_written_input_micro_usd: int
    reasoning_output_micro_usd: int
    image_micro_usd: int = 0
    """Millionths of a US dollar for one image of a prompt, beside its tokens."""

    def cost(self, usage: Usage) -> int:
        """Return the cost in millionths of a US dollar, rounded up so that small answers are never free."""
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(usage.cache_written_input_tokens, usage.input_tokens - cached)
        reasoning = min(usage.reasoning_output_tokens, usage.output_tokens)
        total = (
            (usage.input_tokens - cached - written) * self.input_micro_usd
            + cached * self.cached_input_micro_usd
            + written * self.cache_written_input_micro_usd
            + (usage.output_tokens - reasoning) * self.output_micro_usd
            + reasoning * self.reasoning_output_micro_usd
        )
        return -(-total // MILLION) + usage.images * self.image_micro_usd

    @property
    def highest_input(self) -> int:
        """The most that a million tokens of input can cost."""
        return max(self.input_micro_usd, self.cached_input_micro_usd, self.cache_written_input_micro_usd)

    @property
    def highest_output(self) -> int:
        """The most that a million tokens of output can cost."""
        return max(self.output_micro_usd, self.reasoning_output_micro_usd)


FREE = Price(0, 0, 0, 0, 0)


class Prices:
    """The prices of one model, each from its date on (UTC)."""

    def __init__(self, by_date: Sequence[tuple[date, Price]]) -> None:
        self._by_date = sorted(by_date, key=lambda dated: dated[0])

    def at(self, instant: datetime) -> Price | None:
        """Return the price at an instant; None where none is in effect."""
        day = instant.astimezone(UTC).date()
        return next((price for since, price in reversed(self._by_date) if since <= day), None)


UNKNOWN = Prices(())
NO_COST = Prices(((date.min, FREE),))
