"""Notifications between the processes that share a database, through a Redis channel.

Redis carries only what may be lost: without it, or while it is away, waiters and tasks poll the database a little more
often. It fails open: nothing here delays or fails the operation that is announced.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import structlog
from graphmesh_chassis.settings import reveal
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.engine import make_url

from graphmesh_orchestrator.notifications.notifier import NoBus, Notifier, Topic

log = structlog.get_logger("graphmesh.notifications")

PROBE_SECONDS = 1.0
"""How often an idle process publishes an empty message, to detect a broken connection."""
TIMEOUT_SECONDS = 2.0
"""How long Redis may take to answer before it counts as unavailable."""
RETRY_SECONDS = 0.5
"""The wait between two attempts to connect."""
MAX_PENDING = 10_000
"""Notifications that wait to be published; further ones are dropped."""


@asynccontextmanager
async def connected(redis_url: str | SecretStr, database_url: str | SecretStr) -> AsyncIterator[Notifier]:
    """Yield a notifier that is connected with those of the other processes on its database.

    Without a `redis_url` it stays local. A SQLite database has no other processes.
    """
    database = make_url(reveal(database_url))
    notifier = Notifier(is_alone=database.get_backend_name() == "sqlite")
    if not redis_url:
        yield notifier
        return
    bus = RedisBus(reveal(redis_url), f"graphmesh:{database.database}", notifier)
    notifier.bus = bus
    running = asyncio.create_task(bus.run(), name="redis bus")
    try:
        yield notifier
    finally:
        notifier.bus = NoBus()
        await _cancel(running, attempt_seconds=1.0)
        await bus.close()


class RedisBus:
    """Publishes notifications of this process on one channel, and delivers those of other processes."""

    def __init__(self, url: str, channel: str, notifier: Notifier) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
        )
        self._channel, self._notifier = channel, notifier
        self._sender = uuid4().hex
        self._pending: dict[str, None] = {}
        self._has_pending = asyncio.Event()
        self._connected: bool | None = None

    @property
    def is_connected(self) -> bool:
        return bool(self._connected)

    def publish(self, topic: Topic, run_id: str) -> None:
        if self._connected and len(self._pending) < MAX_PENDING:
            self._pending[f"{topic} {run_id}"] = None
            self._has_pending.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._serve_connection()
            except (RedisError, OSError):
                self._set_connected(connected=False)
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Publish what is pending, if Redis answers in time, and disconnect."""
        with contextlib.suppress(RedisError, OSError):
            if self._pending:
                await self._flush()
        await self._redis.aclose()

    async def _serve_connection(self) -> None:
        """Publish and receive until the connection breaks. Raises RedisError or OSError."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(self._channel)
            if await channel.get_message(timeout=TIMEOUT_SECONDS) is None:
                raise TimeoutError("not subscribed in time")
            self._set_connected(connected=True)
            receiver = asyncio.create_task(self._receive(channel), name="redis bus receiver")
            publisher = asyncio.create_task(self._publish_pending(), name="redis bus publisher")
            try:
                done, _ = await asyncio.wait((receiver, publisher), return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                await _cancel(receiver, publisher, attempt_seconds=0.1)

    def _set_connected(self, connected: bool) -> None:
        """On a change, announce to all processes that notifications may have been lost."""
        if connected is not self._connected:
            log.info("redis connected" if connected else "redis unavailable")
            self._connected = connected
            self._pending.clear()
            self._notifier.receive(Topic.MISSED, "")
            self.publish(Topic.MISSED, "")

    async def _receive(self, channel: Any) -> None:
        async for message in channel.listen():
            if message["type"] == "message":
                sender, *lines = message["data"].split("\n")
                for line in lines if sender != self._sender else ():
                    topic, _, run_id = line.partition(" ")
                    self._notifier.receive(topic, run_id)

    async def _publish_pending(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._has_pending.wait()
            await self._flush()

    async def _flush(self) -> None:
        """Publish all that is pending as one message; notifications that arrive meanwhile are in the next."""
        lines = list(self._pending)
        self._pending.clear()
        self._has_pending.clear()
        await self._redis.publish(self._channel, "\n".join([self._sender, *lines]))


async def _cancel(*tasks: asyncio.Task[None], attempt_seconds: float) -> None:
    """Cancel tasks until they are done: redis-py swallows a cancellation that arrives while it connects."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=attempt_seconds)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen, so that it is not logged as never retrieved
