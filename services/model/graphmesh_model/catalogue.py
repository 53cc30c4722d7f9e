"""Which models there are, by the aliases that callers name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graphmesh_chassis.errors import NotFound

from graphmesh_model.domain import Price
from graphmesh_model.provider import Provider

DEFAULT = "default"
"""The alias that an empty one stands for."""


@dataclass(frozen=True)
class Entry:
    """A model under its alias."""

    alias: str
    provider: Provider
    price: Price | None = None
    """None where it is not known."""
    fallbacks: tuple[str, ...] = ()
    """The aliases that step in, in this order. Their own fallbacks do not."""


class Catalogue:
    """The models of one deployment."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.alias: entry for entry in sorted(entries, key=lambda entry: entry.alias)}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def chain(self, alias: str) -> tuple[Entry, ...]:
        """The entry of `alias`, and after it those that step in for it.

        Raises:
            NotFound: there is none.
        """
        entry = self._entries.get(alias or DEFAULT)
        if entry is None:
            raise NotFound(resource="model", id=alias)
        return (entry, *(self._entries[fallback] for fallback in entry.fallbacks))
