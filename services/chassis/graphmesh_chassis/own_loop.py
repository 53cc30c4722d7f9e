"""Calls of code that runs in threads of its own, also on event loops of its own, to what runs on one event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
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

    def iterate(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Return a generator of items that are made on the loop, wherever the caller is."""
        return items if self.is_running_here else self._iterate(items)

    async def _iterate(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        try:
            while (item := await self.execute(_next(items))) is not None:
                yield item[0]
        finally:
            await self.execute(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> tuple[T] | None:
    async for item in items:
        return (item,)
    return None


class HasLoop(Protocol):
    """An object that was made on an event loop."""

    @property
    def _loop(self) -> OwnLoop: ...


HasLoopT = TypeVar("HasLoopT", bound=HasLoop)


def on_own_loop(
    method: Callable[Concatenate[HasLoopT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[HasLoopT, P], Coroutine[Any, Any, T]]:
    """Execute a method on the loop of its object, wherever the caller is."""

    @wraps(method)
    async def executed(self: HasLoopT, /, *args: P.args, **options: P.kwargs) -> T:
        return await self._loop.execute(method(self, *args, **options))

    return executed
