"""The configured models by alias."""

from collections.abc import Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

from graphmesh_chassis.errors import NotFound

from graphmesh_model.accounting.prices import UNKNOWN, Prices
from graphmesh_model.answer_cache import AnswerCache
from graphmesh_model.embedding import EmbeddingEntry
from graphmesh_model.gate import DEFAULT_LIMITS, Gate, GateLimits
from graphmesh_model.provider import Provider

if TYPE_CHECKING:
    from graphmesh_chassis.rates import Rates

DEFAULT = "default"
"""Alias of a prompt that names no model."""


@dataclass(frozen=True)
class Similar:
    """The sharing of answers to similar prompts."""

    embedder: EmbeddingEntry
    threshold: float
    """The least cosine of two embeddings whose prompts share an answer."""


@dataclass(frozen=True)
class Entry:
    """A model under its alias."""

    alias: str
    provider: Provider
    prices: Prices = UNKNOWN
    fallbacks: tuple[str, ...] = ()
    """Aliases of the fallback models, in this order. Not transitive."""
    limits: GateLimits = DEFAULT_LIMITS
    max_output_tokens: int = 4096
    """The tokens that a budget reserves for an answer, and bounds it to, where the prompt states no maximum."""
    cache: AnswerCache | None = None
    """The answers to equal prompts; None: they are not kept."""
    similar: Similar | None = None
    """How answers to similar prompts are shared; None: they are not."""
    rates: InitVar["Rates | None"] = None
    """Counts the calls; required where the limits have a rate."""
    gate: Gate = field(init=False, compare=False)

    def __post_init__(self, rates: "Rates | None") -> None:
        object.__setattr__(self, "gate", Gate(self.alias, self.provider.vendor, self.limits, rates))


class Catalogue:
    """The models of one deployment."""

    def __init__(self, entries: Iterable[Entry], embeddings: Iterable[EmbeddingEntry] = ()) -> None:
        self._embeddings = {entry.alias: entry for entry in embeddings}
        self._entries = {entry.alias: entry for entry in sorted(entries, key=lambda entry: entry.alias)}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def embedding(self, alias: str) -> EmbeddingEntry:
        """Return an entry of embeddings. Raises NotFound where the alias is not configured."""
        entry = self._embeddings.get(alias or DEFAULT)
        if entry is None:
            raise NotFound(resource="embeddings", id=alias or DEFAULT)
        return entry

    def chain(self, alias: str) -> tuple[Entry, ...]:
        """Return the entry of `alias`, followed by its fallbacks.

        Raises:
            NotFound: the alias is not configured.
        """
        entry = self._entries.get(alias or DEFAULT)
        if entry is None:
            raise NotFound(resource="model", id=alias)
        return (entry, *(self._entries[fallback] for fallback in entry.fallbacks))
