"""An effect in somebody else's system is made once, whichever process works on it, dies or is paused (E3)."""

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

from tests.contract.chassis.test_effects import Held, SqlTally, database, url
from tests.contract.chassis.test_foreign import Doing, Office, Provider, decline, lose, serving

__all__ = ["url"]


@dataclass
class Replicas:
    """Two processes, as far as they know, with one database and one provider."""

    one: Office
    other: Office
    database: Database

    async def hold_ends(self, when: datetime | None = None) -> None:
        """Now: as after a pause of the process that is longer than its hold. Later: as where it died."""
        async with self.database.transaction() as connection:
            await connection.execute(sa.update(effects.table).values(held_until=when))

    async def result(self) -> str:
        async with self.database.read() as connection:
            return str((await connection.execute(sa.select(effects.table.c.result))).scalar_one())


@asynccontextmanager
async def together(url: str, folder: Path) -> AsyncIterator[Replicas]:
    provider = Provider()
    async with (
        database(url, folder) as first,
        database(url, folder) as second,
        serving(Office(SqlStore(first, SqlTally), provider=provider)) as one,
        serving(Office(SqlStore(second, SqlTally), provider=provider)) as other,
    ):
        yield Replicas(one, other, first)


@pytest_asyncio.fixture
async def replicas(url: str, tmp_path: Path) -> AsyncIterator[Replicas]:
    async with together(url, tmp_path) as replicas:
        yield replicas


async def test_replicas_send_once(replicas: Replicas) -> None:
    """Of a hundred equal calls over two replicas one is sent; the others get its answer."""
    both = (replicas.one, replicas.other)
    answers = await asyncio.gather(*(both[number % 2].settled() for number in range(100)))
    assert {answer.number for answer in answers} == {5}
    assert len(replicas.one.provider.sent) == 1
    assert await replicas.one.tally() == (1, 5)


class Gate:
    """Something at the provider that takes until a test lets it go on, and may then fail."""

    def __init__(self, then: Doing | None = None) -> None:
        self.began, self.go, self._then = asyncio.Event(), asyncio.Event(), then

    async def __call__(self) -> None:
        self.began.set()
        await self.go.wait()
        if self._then:
            await self._then()


async def test_while_another_process_works_on_it(replicas: Replicas) -> None:
    """A repeat is told to come again, and the table says that it is begun; afterwards it gets the answer."""
    one, other = replicas.one, replicas.other
    one.provider.before = gate = Gate()
    first = asyncio.create_task(one.add(5))
    await gate.began.wait()
    with pytest.raises(IdempotencyKeyInUse) as refused:
        await other.add(5)
    assert refused.value.retry_after
    assert not refused.value.may_have_happened
    assert await replicas.result() == "STARTED"
    gate.go.set()
    assert await first == await other.add(5)
    assert await replicas.result() == "OK"
    assert len(one.provider.sent) == 1


async def test_the_hold_of_a_process_that_died_ends_with_its_deadline(replicas: Replicas) -> None:
    """Another process settles what it left, as soon as its call would be over, and not before."""
    replicas.one.provider.after = lose
    with pytest.raises(ProviderUnavailable):
        await replicas.one.add(5)
    await replicas.hold_ends(deadline := datetime.now(UTC) + timedelta(seconds=1))
    with pytest.raises(IdempotencyKeyInUse):
        await replicas.other.add(5)
    assert (await replicas.other.settled()).number == 5
    assert datetime.now(UTC) >= deadline
    assert len(replicas.one.provider.sent) == 1


async def test_a_hold_is_no_longer_than_the_deadline(replicas: Replicas) -> None:
    """By the database's clock."""
    replicas.one.provider.before = gate = Gate()
    before = datetime.now(UTC)
    working = asyncio.create_task(replicas.one.add(5, timeout=4))
    await gate.began.wait()
    latest = datetime.now(UTC) + timedelta(seconds=5)  # gRPC rounds the time up that it tells a server
    async with replicas.database.read() as connection:
        held_until = (await connection.execute(sa.select(effects.table.c.held_until))).scalar_one()
    gate.go.set()
    await working
    assert before + timedelta(seconds=1) < held_until <= latest


async def test_a_recording_that_outlives_its_hold(postgres_url: str, tmp_path: Path) -> None:
    """Whoever would take over waits for its transaction, and is told to come again where that takes too long."""
    async with together(postgres_url, tmp_path) as replicas:
        replicas.one.provider.before, replicas.one.then = gate, held = Gate(), Held()
        first = asyncio.create_task(replicas.one.add(5))
        await gate.began.wait()
        await replicas.hold_ends()
        gate.go.set()
        await held.began.wait()
        with pytest.raises(IdempotencyKeyInUse):
            await replicas.other.add(5, timeout=2)
        held.go.set()
        assert await first == await replicas.other.add(5)


async def test_whoever_was_paused_has_no_say(replicas: Replicas) -> None:
    """A refusal that comes to a process whose hold is over is not stored over the charge of who took the key over."""
    one, other = replicas.one, replicas.other
    one.provider.before = gate = Gate(decline)
    paused = asyncio.create_task(one.add(5))
    await gate.began.wait()
    await replicas.hold_ends()
    one.provider.before = None
    settled = await other.add(5)
    gate.go.set()
    assert await paused == settled
    assert await one.tally() == (1, 5)
    assert await replicas.result() == "OK"


async def test_whoever_was_paused_waits_for_who_took_over(replicas: Replicas) -> None:
    """The same while the other is still under way: told to come again, and nothing of it stored."""
    one, other = replicas.one, replicas.other
    one.provider.before = first = Gate(decline)
    paused = asyncio.create_task(one.add(5))
    await first.began.wait()
    await replicas.hold_ends()
    one.provider.before = second = Gate()
    taking_over = asyncio.create_task(other.add(5))
    await second.began.wait()
    first.go.set()
    with pytest.raises(IdempotencyKeyInUse):
        await paused
    second.go.set()
    assert (await taking_over).number == 5
    assert await one.tally() == (1, 5)


async def test_no_database_is_held_while_the_provider_works(replicas: Replicas) -> None:
    """Other effects go on meanwhile, also on SQLite, which has one writer."""
    replicas.one.provider.before = gate = Gate()
    waiting = asyncio.create_task(replicas.one.add(5))
    await gate.began.wait()
    replicas.one.provider.before = None
    assert (await replicas.one.add(7, "other")).number == 7
    gate.go.set()
    assert (await waiting).number == 12
