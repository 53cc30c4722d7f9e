"""The client for programs without an event loop: each method is that of the asynchronous client, and waits for it."""

import asyncio
import atexit
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from threading import Thread
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


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="graphmesh client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def is_closed(self) -> bool:
        return self._loop.is_closed()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine, which is cancelled where the caller is interrupted."""
        if self.is_closed:
            coroutine.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        atexit.unregister(self.close)
        if not self.is_closed:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


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
            if not self._loop.is_closed:
                self._loop.wait(items.aclose())

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
    list_runs, list_graphs = _call(Client.list_runs), _call(Client.list_graphs)

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
        super().__init__(client, _Loop())
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
        """Close the connection. What is still iterated ends without a further item."""
        if not self._loop.is_closed:
            self._loop.wait(self._async.aclose())
            self._loop.close()
