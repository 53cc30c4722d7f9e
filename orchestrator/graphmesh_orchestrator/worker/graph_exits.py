"""Turns exits of the process that code of a graph requests into errors of that code.

asyncio raises SystemExit and KeyboardInterrupt of any task out of the event loop, which ends the process, and with it
the runs of all tenants. Here no task of the loop lets them through.
"""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any

EXITS = (SystemExit, KeyboardInterrupt)


class ExitRequested(Exception):
    """Code of a task raised SystemExit or KeyboardInterrupt, which is the cause."""


@contextmanager
def exits_contained() -> Iterator[None]:
    """Raise ExitRequested in place of exits, in the tasks that the running loop creates while the body runs."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(_contained_task)
    try:
        yield
    finally:
        loop.set_task_factory(before)


def exception_name(error: BaseException) -> str:
    """Return the type of an exception of a graph, for its user: that of the exit where one was contained."""
    cause = error.__cause__ if isinstance(error, ExitRequested) else None
    return type(cause or error).__name__


def context_of(task: "asyncio.Task[Any] | None") -> Context | None:
    """Return the context of a task of the loop; None for another task. Python 3.12 has `Task.get_context`."""
    coro = task.get_coro() if task else None
    return coro.context if isinstance(coro, _Contained) else None


def _contained_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> "asyncio.Task[Any]":
    context = options.pop("context", None) or copy_context()
    return asyncio.Task(_Contained(coro, context), loop=loop, context=context, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises no exit. Closing it before its first step closes the inner one, as for a plain task."""

    __slots__ = ("_close", "_send", "_throw", "context", "cr_code", "cr_frame")

    def __init__(self, coro: Any, context: Context) -> None:
        self.context = context
        self._send, self._throw, self._close = coro.send, coro.throw, coro.close
        self.cr_code, self.cr_frame = getattr(coro, "cr_code", None), None

    def send(self, value: Any) -> Any:
        try:
            return self._send(value)
        except EXITS as error:
            raise ExitRequested() from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._throw(*error)
        except EXITS as exit_:
            raise ExitRequested() from exit_

    def close(self) -> None:
        self._close()

    def __await__(self) -> Any:
        raise TypeError("only a task executes it")
