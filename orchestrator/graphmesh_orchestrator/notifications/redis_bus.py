"""Wake-ups between the processes that share a database, through Redis.

Redis carries only what may be lost: without it, or while it is away, whoever waits looks into the database by himself a
little more often. Nothing here delays or fails what it tells of.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.engine import make_url

from graphmesh_orchestrator.notifications.notifier import Nobody, Notices, Topic

log = structlog.get_logger("graphmesh.wakeups")

PROBE_SECONDS = 1.0
"""How often an idle process publishes nothing, to learn whether it could."""
PATIENCE_SECONDS = 2.0
"""How long Redis may take to answer before it counts as away."""
RETRY_SECONDS = 0.5
"""Between two tries to reach it."""
MAX_PENDING = 10_000
"""Wake-ups that wait to be published; more are not told."""


@asynccontextmanager
async def connected(notices: Notices, redis_url: str, database_url: str) -> AsyncIterator[None]:
    """Connect the notices of this process with those of the others on its database, while the body runs.

    Without a `redis_url` they stay for themselves.
    """
    if not redis_url:
        yield
        return
    wakeups = Wakeups(redis_url, f"graphmesh:{make_url(database_url).database}", notices)
    notices.others = wakeups
    running = asyncio.create_task(wakeups.run(), name="wakeups")
    try:
        yield
    finally:
        notices.others = Nobody()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await wakeups.close()


class Wakeups:
    """Publishes what is announced here on one channel, and passes on what others publish there."""

    def __init__(self, url: str, channel: str, notices: Notices) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=PATIENCE_SECONDS,
            socket_timeout=PATIENCE_SECONDS,
        )
        self._channel, self._notices = channel, notices
        self._sender = uuid4().hex
        self._pending: dict[str, None] = {}
        self._some = asyncio.Event()
        self._connected: bool | None = None

    @property
    def connected(self) -> bool:
        return bool(self._connected)

    def announce(self, topic: Topic, run_id: str) -> None:
        if self._connected and len(self._pending) < MAX_PENDING:
            self._pending[f"{topic} {run_id}"] = None
            self._some.set()

    async def run(self) -> None:
        """Be connected whenever Redis is there, for ever."""
        while True:
            try:
                await self._converse()
            except* (RedisError, OSError):
                self._change(connected=False)
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Publish what is left, if that is quick, and disconnect."""
        with contextlib.suppress(RedisError, OSError):
            if self._pending:
                await self._publish()
        await self._redis.aclose()

    async def _converse(self) -> None:
        """Until something breaks. Raises RedisError or OSError, in a group or not."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(self._channel)
            if await channel.get_message(timeout=PATIENCE_SECONDS) is None:
                raise TimeoutError("not subscribed in time")
            self._change(connected=True)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(channel), name="wakeups heard")
                group.create_task(self._tell(), name="wakeups told")

    def _change(self, connected: bool) -> None:
        """Whoever was not connected has heard nothing meanwhile, and was not heard: all are to look."""
        if connected is not self._connected:
            log.info("redis is there" if connected else "redis is away")
            self._connected = connected
            self._pending.clear()
            self._notices.heard(Topic.MISSED, "")
            self.announce(Topic.MISSED, "")

    async def _hear(self, channel: Any) -> None:
        async for message in channel.listen():
            if message["type"] == "message":
                sender, *lines = message["data"].split("\n")
                for line in lines if sender != self._sender else ():
                    topic, _, run_id = line.partition(" ")
                    self._notices.heard(topic, run_id)

    async def _tell(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._some.wait()
            await self._publish()

    async def _publish(self) -> None:
        """All that is pending, as one message: what comes meanwhile is in the next."""
        lines = list(self._pending)
        self._pending.clear()
        self._some.clear()
        await self._redis.publish(self._channel, "\n".join([self._sender, *lines]))
