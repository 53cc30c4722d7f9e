"""The client for programs without an event loop: each method is that of the asynchronous client, and waits for it."""

import asyncio
import atexit
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import closing, suppress
from functools import wraps
from threading import RLock, Thread, current_thread
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from graphmesh_client.approvals import Approvals
from graphmesh_client.assistants import Assistants
from graphmesh_client.client import Client
from graphmesh_client.deliveries import Deliveries
from graphmesh_client.schedules import Schedules
from graphmesh_client.store import Store
from graphmesh_client.threads import Threads
from graphmesh_client.token import TokenSource

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
AsyncT = TypeVar("AsyncT")

CLOSED = "the client is closed"
CLOSE_SECONDS = 5.0
"""How long calls that are cut off may take to end."""


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self, finish: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`finish` is executed at the end."""
        self._loop, self._finish, self._lock = asyncio.new_event_loop(), finish, RLock()
        self.is_closed = False
        self._thread = Thread(target=self._run, name="graphmesh client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine, which is cancelled where the caller is interrupted.

        Raises:
            RuntimeError: the loop is closed, maybe by another thread meanwhile.
        """
        future = self._begin(coroutine)
        try:
            return future.result()
        except CancelledError:
            if self.is_closed:
                raise RuntimeError(CLOSED) from None
            raise
        finally:
            future.cancel()

    def close_generator(self, items: AsyncGenerator[Any, None]) -> None:
        """Close a generator; not at once in the loop's own thread, where an iterator may be garbage collected."""
        with suppress(RuntimeError):  # a loop that is closed has closed its generators
            if current_thread() is self._thread:
                self._begin(items.aclose())
            else:
                self.wait(items.aclose())

    def close(self) -> None:
        """Close the loop. What other threads wait for is cancelled."""
        atexit.unregister(self.close)
        with self._lock:
            if not self.is_closed:
                self.is_closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        with self._lock:  # what is begun before the loop is stopped is found there
            if not self.is_closed:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise RuntimeError(CLOSED)

    def _run(self) -> None:
        with closing(self._loop):
            self._loop.run_forever()
            if left := asyncio.all_tasks(self._loop):
                for task in left:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(left, timeout=CLOSE_SECONDS))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._finish())


class _Twin(Generic[AsyncT]):
    """The synchronous form of an asynchronous object."""

    def __init__(self, twin: AsyncT, loop: _Loop) -> None:
        self._async, self._loop = twin, loop


def _call(
    method: Callable[Concatenate[AsyncT, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[_Twin[AsyncT], P], R]:
    """Return the method of the twin for a coroutine function."""

    @wraps(method)
    def call(self: _Twin[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop.wait(method(self._async, *args, **kwargs))

    return call


def _iterate(
    method: Callable[Concatenate[AsyncT, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[_Twin[AsyncT], P], Generator[R, None, None]]:
    """Return the method of the twin for an asynchronous generator."""

    @wraps(method)
    def iterate(self: _Twin[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> Generator[R, None, None]:
        items = method(self._async, *args, **kwargs)
        try:
            while (item := self._loop.wait(_next(items))) is not None:
                yield item[0]
        finally:
            self._loop.close_generator(items)

    return iterate


async def _next(items: AsyncGenerator[R, None]) -> tuple[R] | None:
    async for item in items:
        return (item,)
    return None


class SyncThreads(_Twin[Threads]):
    create, get, find = _call(Threads.create), _call(Threads.get), _call(Threads.find)
    update, delete, fork = _call(Threads.update), _call(Threads.delete), _call(Threads.fork)
    state, update_state = _call(Threads.state), _call(Threads.update_state)
    prune, artifact = _call(Threads.prune), _call(Threads.artifact)
    history = _iterate(Threads.history)


class SyncStore(_Twin[Store]):
    put, get, delete = _call(Store.put), _call(Store.get), _call(Store.delete)
    namespaces, search = _call(Store.namespaces), _iterate(Store.search)


class SyncAssistants(_Twin[Assistants]):
    create, get, update = _call(Assistants.create), _call(Assistants.get), _call(Assistants.update)
    delete, versions = _call(Assistants.delete), _call(Assistants.versions)
    set_latest, search = _call(Assistants.set_latest), _iterate(Assistants.search)


class SyncSchedules(_Twin[Schedules]):
    create, get, update = _call(Schedules.create), _call(Schedules.get), _call(Schedules.update)
    pause, resume, trigger = _call(Schedules.pause), _call(Schedules.resume), _call(Schedules.trigger)
    delete, find = _call(Schedules.delete), _iterate(Schedules.find)


class SyncApprovals(_Twin[Approvals]):
    get, find, respond = _call(Approvals.get), _call(Approvals.find), _call(Approvals.respond)


class SyncDeliveries(_Twin[Deliveries]):
    find, retry = _call(Deliveries.find), _call(Deliveries.retry)


class SyncClient(_Twin[Client]):
    """A client of one tenant for synchronous programs, of any thread. Close it with `with`.

    Its methods are those of `Client`; what that streams is an iterator here.
    """

    create_run, execute_run = _call(Client.create_run), _call(Client.execute_run)
    get_run, wait_run, stream_run = _call(Client.get_run), _call(Client.wait_run), _iterate(Client.stream_run)
    resume_run, cancel_run = _call(Client.resume_run), _call(Client.cancel_run)
    record_feedback = _call(Client.record_feedback)
    list_runs, list_graphs = _call(Client.list_runs), _call(Client.list_graphs)
    list_budgets = _call(Client.list_budgets)

    def __init__(
        self,
        address: str,
        *,
        tenant: str = "default",
        retry_timeout: float = 10.0,
        token: TokenSource | None = None,
    ) -> None:
        """As `Client`. Raises ValueError where the address has another form."""
        client = Client(address, tenant=tenant, retry_timeout=retry_timeout, token=token)
        super().__init__(client, _Loop(client.aclose))
        self.threads = SyncThreads(client.threads, self._loop)
        self.store = SyncStore(client.store, self._loop)
        self.assistants = SyncAssistants(client.assistants, self._loop)
        self.schedules = SyncSchedules(client.schedules, self._loop)
        self.approvals = SyncApprovals(client.approvals, self._loop)
        self.deliveries = SyncDeliveries(client.deliveries, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls of other threads that have not returned raise RuntimeError."""
        self._loop.close()
