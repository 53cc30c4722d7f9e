"""Threads for the synchronous code of graphs, shared out so that no run waits for another's."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, ParamSpec, TypeVar

SHARED_THREADS = 64
"""Threads besides one for each run: for runs that execute several synchronous nodes at the same time."""
OTHER_THREADS = 32
"""Threads for calls outside of runs, such as the resolution of names."""
CURRENT_RUN: ContextVar[str] = ContextVar("graphmesh_run", default="")
"""The execution of a run that the current task belongs to; empty for none."""

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
    started when they are needed, not before. They are daemons: one whose function never returns does not keep the
    process from ending. The base class starts none; asyncio requires it.
    """

    def __init__(self, shared: int = SHARED_THREADS, other: int = OTHER_THREADS) -> None:
        """
        Args:
            shared: threads that runs share for what they execute besides.
            other: threads for calls outside of runs.
        """
        super().__init__()
        self._lock = Lock()
        self._running: defaultdict[str, set[Future[Any]]] = defaultdict(set)
        self._free_shared, self._other = shared, other
        self._waiting: deque[_Call] = deque()
        self._begun: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._started: list[Thread] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        call = _Call(CURRENT_RUN.get(), lambda: fn(*args, **kwargs), Future())
        with self._lock:
            if not self._take_thread(call):
                self._waiting.append(call)
                return call.future
        self._begin(call)
        return call.future

    def end_run(self, run_id: str) -> Sequence["Future[Any]"]:
        """Return the calls of an execution that has ended which have not returned.

        Their threads are no longer counted; the caller has to bound the number of such calls.
        """
        with self._lock:
            left = self._running.pop(run_id, set())
            self._free_shared += max(0, len(left) - 1)
            begun = list(iter(self._admit, None)) if left else []
        for call in begun:
            self._begin(call)
        return [call for call in left if not call.done()]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for _ in self._started:
            self._begun.put(None)
        for thread in self._started if wait else ():
            thread.join()

    def _take_thread(self, call: _Call) -> bool:
        """Take the run's own thread, or else a shared one. Returns whether there was one."""
        running = self._running[call.run_id]
        if not call.run_id:
            if len(running) >= self._other:
                return False
        elif running:
            if not self._free_shared:
                return False
            self._free_shared -= 1
        running.add(call.future)
        return True

    def _admit(self) -> _Call | None:
        """Remove the first waiting call that may have a thread, which it takes."""
        for position, call in enumerate(self._waiting):
            if self._take_thread(call):
                del self._waiting[position]
                return call
        return None

    def _begin(self, call: _Call) -> None:
        self._begun.put(call)
        if not self._idle.acquire(blocking=False):
            thread = Thread(target=self._work, name=f"node_{len(self._started)}", daemon=True)
            self._started.append(thread)
            thread.start()

    def _work(self) -> None:
        while call := self._begun.get():
            self._execute(call)
            del call  # it refers to a state
            self._idle.release()

    def _execute(self, call: _Call | None) -> None:
        while call is not None:
            if call.future.set_running_or_notify_cancel():
                try:
                    result = call.function()
                except BaseException as error:
                    call.future.set_exception(error)
                else:
                    call.future.set_result(result)
            call = self._next(call)

    def _next(self, ended: _Call) -> _Call | None:
        """Give the thread of a call back, and return the first waiting call that may have it."""
        with self._lock:
            running = self._running.get(ended.run_id, set())
            if ended.future in running:
                running.remove(ended.future)
                if not running:
                    del self._running[ended.run_id]
                elif ended.run_id:
                    self._free_shared += 1
            return self._admit()


@contextmanager
def node_threads() -> Iterator[NodeThreads]:
    """Make a pool the default executor of the running loop while the body runs."""
    loop, threads = asyncio.get_running_loop(), NodeThreads()
    loop.set_default_executor(threads)
    try:
        yield threads
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown(wait=False)
