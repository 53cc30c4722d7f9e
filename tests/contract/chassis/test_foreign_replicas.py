"""An effect in a foreign system is made once by several replicas, also where one dies or is paused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis import effects
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import IdempotencyKeyInUse, ProviderUnavailable
from graphmesh_chassis.store import SqlStore

from tests.contract.chassis.test_effects import Blocking, SqlTally, database, url
from tests.contract.chassis.test_foreign import Behaviour, Provider, ProviderServer, decline, lose_response, serving

__all__ = ["url"]


@dataclass
class Replicas:
    """Two servers that share nothing but one database and one provider, as two processes do."""

    one: ProviderServer
    other: ProviderServer
    database: Database

    async def end_hold(self, at: datetime | None = None) -> None:
        """Let the hold of the key end at an instant: now by default, as after a pause that is longer than the hold."""
        async with self.database.transaction() as connection:
            await connection.execute(sa.update(effects.table).values(held_until=at))

    async def result(self) -> str:
        async with self.database.read() as connection:
            return str((await connection.execute(sa.select(effects.table.c.result))).scalar_one())


@asynccontextmanager
async def serve_replicas(url: str, folder: Path) -> AsyncIterator[Replicas]:
    provider = Provider()
    async with (
        database(url, folder) as first,
        database(url, folder) as second,
        serving(ProviderServer(SqlStore(first, SqlTally), provider=provider)) as one,
        serving(ProviderServer(SqlStore(second, SqlTally), provider=provider)) as other,
    ):
        yield Replicas(one, other, first)


@pytest_asyncio.fixture
async def replicas(url: str, tmp_path: Path) -> AsyncIterator[Replicas]:
    async with serve_replicas(url, tmp_path) as replicas:
        yield replicas


async def test_replicas_send_once(replicas: Replicas) -> None:
    """Of a hundred equal calls to two replicas one is sent; the others get its response."""
    both = (replicas.one, replicas.other)
    answers = await asyncio.gather(*(both[number % 2].retried() for number in range(100)))
    assert {answer.number for answer in answers} == {5}
    assert len(replicas.one.provider.sent) == 1
    assert await replicas.one.tally() == (1, 5)


class BlockingProvider:
    """A provider's behaviour that waits for `go`, and then has another behaviour."""

    def __init__(self, then: Behaviour | None = None) -> None:
        self.began, self.go, self._then = asyncio.Event(), asyncio.Event(), then

    async def __call__(self) -> None:
        self.began.set()
        await self.go.wait()
        if self._then:
            await self._then()


async def test_repeat_at_another_replica_is_refused_while_in_progress(replicas: Replicas) -> None:
    """Meanwhile the stored result is STARTED; afterwards a repeat gets the response."""
    one, other = replicas.one, replicas.other
    one.provider.before = blocked = BlockingProvider()
    first = asyncio.create_task(one.add(5))
    await blocked.began.wait()
    with pytest.raises(IdempotencyKeyInUse) as refused:
        await other.add(5)
    assert refused.value.retry_after
    assert not refused.value.may_have_happened
    assert await replicas.result() == "STARTED"
    blocked.go.set()
    assert await first == await other.add(5)
    assert await replicas.result() == "OK"
    assert len(one.provider.sent) == 1


async def test_key_of_a_dead_process_is_held_until_its_deadline(replicas: Replicas) -> None:
    """Then another process resolves the outcome, and not before."""
    replicas.one.provider.after = lose_response
    with pytest.raises(ProviderUnavailable):
        await replicas.one.add(5)
    await replicas.end_hold(deadline := datetime.now(UTC) + timedelta(seconds=1))
    with pytest.raises(IdempotencyKeyInUse):
        await replicas.other.add(5)
    assert (await replicas.other.retried()).number == 5
    assert datetime.now(UTC) >= deadline
    assert len(replicas.one.provider.sent) == 1


async def test_key_is_held_no_longer_than_the_deadline(replicas: Replicas) -> None:
    """By the database's clock."""
    replicas.one.provider.before = blocked = BlockingProvider()
    before = datetime.now(UTC)
    working = asyncio.create_task(replicas.one.add(5, timeout=40))
    await blocked.began.wait()
    latest = datetime.now(UTC) + timedelta(seconds=41)  # gRPC rounds up the timeout that it sends
    async with replicas.database.read() as connection:
        held_until = (await connection.execute(sa.select(effects.table.c.held_until))).scalar_one()
    blocked.go.set()
    await working
    assert before + timedelta(seconds=1) < held_until <= latest


async def test_repeat_waits_for_a_transaction_that_outlives_its_hold(postgres_url: str, tmp_path: Path) -> None:
    """It is refused where that takes too long."""
    async with serve_replicas(postgres_url, tmp_path) as replicas:
        replicas.one.provider.before, replicas.one.then = blocked, held = BlockingProvider(), Blocking()
        first = asyncio.create_task(replicas.one.add(5))
        await blocked.began.wait()
        await replicas.end_hold()
        blocked.go.set()
        await held.began.wait()
        with pytest.raises(IdempotencyKeyInUse):
            await replicas.other.add(5, timeout=8)
        held.go.set()
        assert await first == await replicas.other.add(5)


async def test_paused_process_does_not_overwrite_the_outcome(replicas: Replicas) -> None:
    """A refusal that it gets after the end of its hold does not replace the charge of the later attempt."""
    one, other = replicas.one, replicas.other
    one.provider.before = blocked = BlockingProvider(decline)
    paused = asyncio.create_task(one.add(5))
    await blocked.began.wait()
    await replicas.end_hold()
    one.provider.before = None
    response = await other.add(5)
    blocked.go.set()
    assert await paused == response
    assert await one.tally() == (1, 5)
    assert await replicas.result() == "OK"


async def test_paused_process_is_refused_while_a_later_attempt_is_in_progress(replicas: Replicas) -> None:
    """Its refusal is not stored."""
    one, other = replicas.one, replicas.other
    one.provider.before = first = BlockingProvider(decline)
    paused = asyncio.create_task(one.add(5))
    await first.began.wait()
    await replicas.end_hold()
    one.provider.before = second = BlockingProvider()
    later = asyncio.create_task(other.add(5))
    await second.began.wait()
    first.go.set()
    with pytest.raises(IdempotencyKeyInUse):
        await paused
    second.go.set()
    assert (await later).number == 5
    assert await one.tally() == (1, 5)


async def test_no_transaction_is_open_while_the_provider_works(replicas: Replicas) -> None:
    """Other effects are made meanwhile, also on SQLite, which has one writer."""
    replicas.one.provider.before = blocked = BlockingProvider()
    waiting = asyncio.create_task(replicas.one.add(5))
    await blocked.began.wait()
    replicas.one.provider.before = None
    assert (await replicas.one.add(7, "other")).number == 7
    blocked.go.set()
    assert (await waiting).number == 12
