"""A server in a thread with an event loop of its own, for tests and programs that are synchronous."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager

from graphmesh_chassis.running import Running
from graphmesh_chassis.serve import Servable, serving
from graphmesh_chassis.settings import ServerSettings

Started = Future[tuple[Running, Callable[[], object]]]
"""The server, and a function that stops it, for any thread to call."""


@contextmanager
def serving_in_thread(servable: AbstractAsyncContextManager[Servable], settings: ServerSettings) -> Iterator[Running]:
    """Open `servable` and serve it while the body runs. The attributes of `Running` belong to the other event loop.

    Raises:
        Exception: whatever opening, serving or closing it raises in the thread.
    """
    started: Started = Future()
    with ThreadPoolExecutor(1, "test server") as thread:
        ended = thread.submit(asyncio.run, _serve(servable, settings, started))
        server, stop = started.result()
        try:
            yield server
        finally:
            stop()
            ended.result()


async def _serve(servable: AbstractAsyncContextManager[Servable], settings: ServerSettings, started: Started) -> None:
    settings = settings.model_copy(update={"validate_responses": True})
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    try:
        async with servable as opened, serving("test", opened, settings) as server:
            started.set_result((server, lambda: loop.call_soon_threadsafe(stopped.set)))
            await stopped.wait()
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise
