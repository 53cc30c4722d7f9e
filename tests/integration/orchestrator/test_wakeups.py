"""Orchestrators on one PostgreSQL tell each other through Redis what is new, and lose nothing without it (B4, D7).

Nobody looks by himself here, but where a test says so: what arrives has been told.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import testing
from graphmesh_client import Client
from graphmesh_local import backends
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.leases import claiming, heartbeat
from graphmesh_orchestrator.notifications import status_poller as looking
from graphmesh_orchestrator.settings import Settings
from redis.asyncio import Redis

from tests.integration.orchestrator.gates import GATES

GRAPH = Path(__file__).with_name("asking.py")
NEVER = 3600.0
PATIENCE = 30


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ELSEWHERE_SECONDS", NEVER)
    monkeypatch.setattr(looking, "CONNECTED_SECONDS", NEVER)
    monkeypatch.setattr(claiming, "CLAIM_SECONDS", NEVER)


@dataclass
class Pair:
    """Two orchestrators on one database."""

    one: Client
    other: Client
    gate: str
    """Where the run waits that the tests begin."""

    async def begun(self) -> str:
        """A run that `one` executes up to the gate, as `other` has seen."""
        run = await self.one.create_run("gated", {"name": self.gate})
        async with asyncio.timeout(PATIENCE), aclosing(self.other.stream_run(run.run_id)) as events:
            async for event in events:
                if event.HasField("node_started"):
                    break
        return run.run_id

    async def passes(self, run_id: str) -> list[pb.RunEvent]:
        """What `other` sees of the run from its beginning, while the gate is opened."""
        seen: list[pb.RunEvent] = []
        async with asyncio.timeout(PATIENCE):
            async for event in self.other.stream_run(run_id):
                seen.append(event)
                if event.HasField("node_started"):
                    GATES[self.gate].set()
        return seen


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    async with (
        build(settings) as servable,
        testing.running(servable, settings) as served,
        Client(served.address, patience=5) as client,
    ):
        yield client


@asynccontextmanager
async def paired(
    folder: Path,
    database_url: str,
    redis_url: str,
    one: Literal["all", "api"] = "all",
    other: Literal["all", "worker"] = "all",
) -> AsyncIterator[Pair]:
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": {"gated": f"{GRAPH}:gated"}}))

    def settings(role: Literal["all", "api", "worker"]) -> Settings:
        return Settings(database_url=database_url, redis_url=redis_url, graphs=registry, role=role, mesh="127.0.0.1:1")

    async with serving(settings(one)) as first, serving(settings(other)) as second:
        await subscribed(redis_url, database_url)
        yield Pair(first, second, f"gate {uuid4().hex}")


async def subscribed(redis_url: str, database_url: str) -> None:
    """Wait until both orchestrators hear each other."""
    channel = f"graphmesh:{database_url.rpartition('/')[2]}"
    async with Redis.from_url(redis_url) as redis, asyncio.timeout(PATIENCE):
        while dict(await redis.pubsub_numsub(channel)) != {channel.encode(): 2}:
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def pair(tmp_path: Path, postgres_url: str, redis_url: str) -> AsyncIterator[Pair]:
    async with paired(tmp_path, postgres_url, redis_url) as pair:
        yield pair


def without_gaps(events: list[pb.RunEvent]) -> bool:
    return [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_events_of_another_process_are_told(pair: Pair) -> None:
    """A stream at one orchestrator follows a run that another executes, and ends with it."""
    assert without_gaps(await pair.passes(await pair.begun()))


async def test_a_cancellation_reaches_the_process_that_executes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked tells the one that holds the run."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", NEVER)
    run_id = await pair.begun()
    await pair.other.cancel_run(run_id, "enough")
    ended = await pair.other.wait_run(run_id, timeout=PATIENCE)
    assert ended.status == pb.RunStatus.RUN_STATUS_CANCELLED


async def test_a_run_that_waits_is_claimed(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    """One process takes calls and executes nothing; it tells the worker, which tells it of the end."""
    async with paired(tmp_path, postgres_url, redis_url, one="api", other="worker") as pair:
        GATES[pair.gate].set()
        begun = await pair.one.create_run("gated", {"name": pair.gate})
        assert begun.status == pb.RunStatus.RUN_STATUS_PENDING
        ended = await pair.one.wait_run(begun.run_id, timeout=PATIENCE)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS


async def test_broken_connections_are_made_again(pair: Pair, postgres_url: str, redis_url: str) -> None:
    """What was said meanwhile is looked up, what is said afterwards is told again."""
    run_id = await pair.begun()
    async with Redis.from_url(redis_url) as redis:
        await redis.client_kill_filter(_type="pubsub")
    await subscribed(redis_url, postgres_url)
    assert without_gaps(await pair.passes(run_id))


async def test_without_redis_everybody_looks(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies under a stream: that goes on by looking, and no call fails."""
    monkeypatch.setattr(looking, "ELSEWHERE_SECONDS", 0.1)
    async with backends.redis() as server, paired(tmp_path, postgres_url, server.url) as pair:
        run_id = await pair.begun()
        following = asyncio.create_task(pair.passes(run_id))
        async with Redis.from_url(server.url) as redis:
            await redis.shutdown(nosave=True)
        assert without_gaps(await following)
        GATES[pair.gate].set()
        again = await pair.one.create_run("gated", {"name": pair.gate})
        ended = await pair.other.wait_run(again.run_id, timeout=PATIENCE)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS
