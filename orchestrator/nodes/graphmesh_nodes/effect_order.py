"""The order of the effects that one message of a model requests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from graphmesh_chassis.errors import GraphmeshError

T = TypeVar("T")


class EffectOrder:
    """Makes effects one after another, in the order in which they arrive on the event loop of a run.

    LangGraph begins the tasks of a message in the order of its calls, after a crash too, so that this is their order.
    Behind an effect whose outcome is open none is made: the run ends, and the next one begins with that effect.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._failure: GraphmeshError | None = None

    async def make(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Return the result of an effect, after those before it. Raises the error of one of them that is open."""
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            try:
                return await effect()
            except GraphmeshError as error:
                self._failure = error if error.may_have_happened else None
                raise
