"""Threads for the synchronous code of graphs, shared out so that no run waits for another's."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any, ParamSpec, TypeVar

SHARED_THREADS = 64
"""Threads besides one for each run: for runs that execute several synchronous nodes at the same time."""
OTHER_THREADS = 32
"""Threads for calls outside of runs, such as the resolution of names."""
CURRENT_RUN: ContextVar[str] = ContextVar("graphmesh_run", default="")
"""The run that the current task belongs to; empty for none."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class _Call:
    run_id: str
    function: Callable[[], Any]
    future: "Future[Any]"


class NodeThreads(ThreadPoolExecutor):
    """A pool in which each run has a thread of its own when it needs one.

    LangGraph executes synchronous nodes in the event loop's default executor. asyncio's has as few threads as the
    machine has processors, and some, and serves first who was first: some slow nodes stop all others. Threads are
    started when they are needed, not before.
    """

    def __init__(self, capacity: int, shared: int = SHARED_THREADS) -> None:
        """
        Args:
            capacity: the number of runs at the same time.
            shared: threads that runs share for what they execute besides.
        """
        super().__init__(capacity + shared + OTHER_THREADS, thread_name_prefix="node")
        self._lock = Lock()
        self._running: Counter[str] = Counter()
        self._free_shared = shared
        self._waiting: deque[_Call] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        run_id = CURRENT_RUN.get()
        if not run_id:
            return super().submit(fn, *args, **kwargs)
        call = _Call(run_id, lambda: fn(*args, **kwargs), Future())
        with self._lock:
            if not self._take_thread(run_id):
                self._waiting.append(call)
                return call.future
        super().submit(self._execute, call)
        return call.future

    def _take_thread(self, run_id: str) -> bool:
        """Take the run's own thread, or else a shared one. Returns whether there was one."""
        if self._running[run_id]:
            if not self._free_shared:
                return False
            self._free_shared -= 1
        self._running[run_id] += 1
        return True

    def _execute(self, call: _Call | None) -> None:
        while call is not None:
            if call.future.set_running_or_notify_cancel():
                try:
                    result = call.function()
                except BaseException as error:
                    call.future.set_exception(error)
                else:
                    call.future.set_result(result)
            call = self._next(call.run_id)

    def _next(self, run_id: str) -> _Call | None:
        """Give the thread of a run back, and return the first waiting call that may have it."""
        with self._lock:
            self._running[run_id] -= 1
            if self._running[run_id]:
                self._free_shared += 1
            else:
                del self._running[run_id]
            for position, call in enumerate(self._waiting):
                if self._take_thread(call.run_id):
                    del self._waiting[position]
                    return call
        return None


@contextmanager
def node_threads(capacity: int) -> Iterator[None]:
    """Make a pool for `capacity` runs the default executor of the running loop while the body runs."""
    loop, threads = asyncio.get_running_loop(), NodeThreads(capacity)
    loop.set_default_executor(threads)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown(wait=False)
