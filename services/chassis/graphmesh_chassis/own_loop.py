"""Calls of synchronous code, which runs in threads of its own, to what runs on the event loop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OwnLoop:
    """The event loop on which an object was made."""

    def __init__(self, advice: str) -> None:
        """`advice` is the message for callers that would make the loop wait for itself."""
        self._loop, self._advice = asyncio.get_running_loop(), advice

    @property
    def is_running_here(self) -> bool:
        """Whether the caller is on the loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine that is executed on the loop.

        Raises:
            InvalidStateError: the caller is on the loop.
        """
        if self.is_running_here:
            coroutine.close()
            raise asyncio.InvalidStateError(self._advice)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def execute(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine that is executed on the loop, wherever the caller is."""
        if self.is_running_here:
            return await coroutine
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))
