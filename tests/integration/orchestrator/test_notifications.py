"""Orchestrators on one PostgreSQL notify each other through Redis, and lose nothing without it.

They do not poll, except in `test_polls_without_redis`: what arrives was announced by a notification.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import testing
from graphmesh_chassis.settings import SecretUrl
from graphmesh_client import Client
from graphmesh_local import backends
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.notifications.redis_bus import connected
from graphmesh_orchestrator.settings import Settings
from redis.asyncio import Redis

from tests.integration.orchestrator.gates import GATES

GRAPH = Path(__file__).with_name("interrupt_graphs.py")
NEVER = 3600.0
NO_POLLING = Intervals(claim=NEVER, status=NEVER, status_connected=NEVER)
TIMEOUT = 60


@dataclass
class Pair:
    """Two orchestrators on one database."""

    one: Client
    other: Client
    gate: str
    """The gate at which the run waits."""

    async def begun(self) -> str:
        """Begin a run at `one`; return when `other` has streamed that it waits at the gate."""
        run = await self.one.create_run("gated", {"name": self.gate})
        async with asyncio.timeout(TIMEOUT), aclosing(self.other.stream_run(run.run_id)) as events:
            async for event in events:
                if event.HasField("node_started"):
                    break
        return run.run_id

    async def passes(self, run_id: str) -> list[pb.RunEvent]:
        """Open the gate, and return the events that `other` streams from the run's beginning."""
        seen: list[pb.RunEvent] = []
        async with asyncio.timeout(TIMEOUT):
            async for event in self.other.stream_run(run_id):
                seen.append(event)
                if event.HasField("node_started"):
                    GATES[self.gate].set()
        return seen


@asynccontextmanager
async def serving(settings: Settings, intervals: Intervals) -> AsyncIterator[Client]:
    async with (
        build(settings, intervals=intervals) as servable,
        testing.running(servable, settings) as served,
        Client(served.address, retry_timeout=60) as client,
    ):
        yield client


@asynccontextmanager
async def paired(
    folder: Path,
    database_url: str,
    redis_url: str,
    one: Literal["all", "api"] = "all",
    other: Literal["all", "worker"] = "all",
    intervals: Intervals = NO_POLLING,
) -> AsyncIterator[Pair]:
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": {"gated": f"{GRAPH}:gated"}}))

    def settings(role: Literal["all", "api", "worker"]) -> Settings:
        return Settings(
            database_url=SecretUrl(database_url),
            redis_url=SecretUrl(redis_url),
            graphs=registry,
            role=role,
            mesh="127.0.0.1:1",
        )

    async with serving(settings(one), intervals) as first, serving(settings(other), intervals) as second:
        await subscribed(redis_url, database_url)
        yield Pair(first, second, f"gate {uuid4().hex}")


async def subscribed(redis_url: str, database_url: str) -> None:
    """Wait until both orchestrators are subscribed."""
    channel = f"graphmesh:{database_url.rpartition('/')[2]}"
    async with Redis.from_url(redis_url) as redis, asyncio.timeout(TIMEOUT):
        while dict(await redis.pubsub_numsub(channel)) != {channel.encode(): 2}:
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def pair(tmp_path: Path, postgres_url: str, redis_url: str) -> AsyncIterator[Pair]:
    async with paired(tmp_path, postgres_url, redis_url) as pair:
        yield pair


def without_gaps(events: list[pb.RunEvent]) -> bool:
    return [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_stream_follows_a_run_of_another_process(pair: Pair) -> None:
    """A stream at one orchestrator follows a run that another executes, and ends with it."""
    assert without_gaps(await pair.passes(await pair.begun()))


async def test_cancellation_reaches_the_executing_process(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    """The process that gets the request notifies the one that holds the run, which does not wait for a heartbeat."""
    never = replace(NO_POLLING, heartbeat=NEVER)
    async with paired(tmp_path, postgres_url, redis_url, intervals=never) as pair:
        run_id = await pair.begun()
        await pair.other.cancel_run(run_id, "enough")
        ended = await pair.other.wait_run(run_id, timeout=TIMEOUT)
        assert ended.status == pb.RunStatus.RUN_STATUS_CANCELLED


async def test_pending_run_is_claimed_on_notification(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    """The process with the API notifies the worker of the run, which notifies it of the end."""
    async with paired(tmp_path, postgres_url, redis_url, one="api", other="worker") as pair:
        GATES[pair.gate].set()
        begun = await pair.one.create_run("gated", {"name": pair.gate})
        assert begun.status == pb.RunStatus.RUN_STATUS_PENDING
        ended = await pair.one.wait_run(begun.run_id, timeout=TIMEOUT)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS


async def test_reconnects_to_redis(pair: Pair, postgres_url: str, redis_url: str) -> None:
    """Changes during the outage are polled; later ones are notified again."""
    run_id = await pair.begun()
    async with Redis.from_url(redis_url) as redis:
        await redis.client_kill_filter(_type="pubsub")
    await subscribed(redis_url, postgres_url)
    assert without_gaps(await pair.passes(run_id))


async def test_disconnects_while_a_notification_is_published(redis_url: str) -> None:
    """A process that stops announces what it leaves; redis-py may swallow the cancellation of that call."""
    async with asyncio.timeout(TIMEOUT):
        for number in range(50):
            async with connected(redis_url, "postgresql://host/notified") as notifier:
                while not notifier.is_complete:
                    await asyncio.sleep(0)
                notifier.to_claim()
                for _ in range(number):
                    await asyncio.sleep(0)


async def test_polls_without_redis(tmp_path: Path, postgres_url: str) -> None:
    """Redis dies under a stream: the stream continues by polling, and no call fails."""
    polling = replace(NO_POLLING, status=0.1)
    async with (
        backends.redis() as server,
        paired(tmp_path, postgres_url, server.url, intervals=polling) as pair,
    ):
        run_id = await pair.begun()
        following = asyncio.create_task(pair.passes(run_id))
        async with Redis.from_url(server.url) as redis:
            await redis.shutdown(nosave=True)
        assert without_gaps(await following)
        GATES[pair.gate].set()
        again = await pair.one.create_run("gated", {"name": pair.gate})
        ended = await pair.other.wait_run(again.run_id, timeout=TIMEOUT)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS
