"""Bounds how many refunds of one customer are made at a time: they wait for each other's locks, and hold connections
and slots of the service meanwhile, which refunds of other customers need."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from graphmesh_chassis.errors import ConcurrencyLimit

MAX_REFUNDS: Final = 6
"""Refunds of a customer at a time in this process: fewer than there are connections and slots."""
RETRY_AFTER: Final = 0.2
"""Seconds."""

Lane = tuple[str, str]
"""A tenant and its customer."""


class Lanes:
    def __init__(self) -> None:
        self._keys: defaultdict[Lane, dict[str, int]] = defaultdict(dict)

    @contextmanager
    def enter(self, lane: Lane, key: str) -> Iterator[None]:
        """Hold a place of a lane. Repeats of a key share one, since they wait for one outcome.

        Raises:
            ConcurrencyLimit: the lane is full.
        """
        keys = self._keys[lane]
        if key not in keys and len(keys) >= MAX_REFUNDS:
            message = f"{MAX_REFUNDS} refunds of the customer are being made; retry later"
            raise ConcurrencyLimit(message, retry_after=RETRY_AFTER)
        keys[key] = keys.get(key, 0) + 1
        try:
            yield
        finally:
            keys[key] -= 1
            if not keys[key]:
                del keys[key]
            if not keys:
                self._keys.pop(lane, None)
