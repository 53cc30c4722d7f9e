"""A running server, and how it is stopped."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.loop_lag import LoopLag

Drain = Callable[[], Awaitable[None]]


class StopSignals:
    """SIGTERM and SIGINT: the first one starts to drain, the second one stops at once."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signal)

    def _signal(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


@dataclass(frozen=True)
class Running:
    """A running server."""

    address: str
    """`host:port`, with the port that was bound."""
    server: grpc.aio.Server
    health: health.aio.HealthServicer
    admissions: Mapping[str, Admission]
    """By the service's full name."""
    tasks: "asyncio.Future[list[None]]"
    """The background tasks; done only when one of them has failed or ended."""
    drain_background: Drain | None
    """Ends the server's background work."""
    loop_lag: LoopLag

    async def linger(self, signals: StopSignals, seconds: float) -> None:
        """Report NOT_SERVING, and serve for `seconds` until proxies have noticed, or until a second signal."""
        await self.health.enter_graceful_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await signals.second.wait()

    async def drain(self, signals: StopSignals, seconds: float) -> None:
        """Refuse new calls, let present ones end, and cancel them after `seconds` or at a second signal."""
        await self.health.enter_graceful_shutdown()
        drained = asyncio.create_task(self._drain(seconds), name="drain")
        insisted = asyncio.create_task(signals.second.wait(), name="second signal")
        await asyncio.wait((drained, insisted), return_when=asyncio.FIRST_COMPLETED)
        insisted.cancel()
        if not drained.done():
            await self.server.stop(None)
        await drained

    async def _drain(self, seconds: float) -> None:
        """End calls and background work at the same time, since calls may wait for background work."""
        await asyncio.gather(self.server.stop(seconds), *([self.drain_background()] if self.drain_background else []))
