"""Every store makes an effect exactly once: in memory, on SQLite, on PostgreSQL (E1, E2, design invariant 3)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis import effects
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effects import Effect
from graphmesh_chassis.errors import (
    DeadlineExceeded,
    GraphmeshError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    Internal,
    InvalidResponse,
    RuleViolated,
)
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.store import MemoryStore, SqlStore, Store
from graphmesh_chassis.testing import Served
from graphmesh_contracts import Overrides
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.integration.chassis.probe import Answer, Probe, Question, probing

tallies = sa.Table("tallies", sa.MetaData(), sa.Column("tenant", sa.String), sa.Column("amount", sa.Integer))
ROOMY = ServerSettings(policy=Overrides(service={"max_concurrency": 50, "max_queue": 2000}))
HEADERS = "run", "thread", "node", "subject", "approval"


class Tally(Protocol):
    """A port: a sum that only grows."""

    async def add(self, amount: int) -> None: ...

    async def entries(self) -> list[int]: ...


class MemoryTally:
    def __init__(self) -> None:
        self._amounts: list[int] = []

    async def add(self, amount: int) -> None:
        self._amounts.append(amount)

    async def entries(self) -> list[int]:
        return self._amounts


class SqlTally:
    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection, self._tenant = connection, tenant

    async def add(self, amount: int) -> None:
        await self._connection.execute(sa.insert(tallies).values(tenant=self._tenant, amount=amount))

    async def entries(self) -> list[int]:
        found = await self._connection.execute(sa.select(tallies).where(tallies.c.tenant == self._tenant))
        return [row.amount for row in found]


Then = Callable[[Effect[Tally], Any], Awaitable[Any]]
"""What the body of a call does after it has added its number."""


async def answer(effect: Effect[Tally], question: Any) -> Any:
    total = sum(await effect.port.entries())
    return effect.respond(Answer(number=total, counts={f"k{number}": number for number in range(20)}))


@dataclass
class Shop:
    """A server whose one effect adds a number to a tally."""

    store: Store[Tally]
    then: Then = answer
    served: Served | None = None

    async def change(self, question: Any, context: Any) -> Any:
        async with self.store.effect() as effect:
            await effect.port.add(question.number)
            return await self.then(effect, question)

    async def read(self, question: Any, context: Any) -> Any:
        async with self.store.read() as tally:
            entries = await tally.entries()
        return Answer(number=len(entries), text=str(sum(entries)))

    async def add(self, number: int, key: str = "k", tenant: str = "acme", timeout: float = 30) -> Any:
        headers = [("idempotency-key", key), ("x-graphmesh-tenant", tenant)]
        return await self._served.channel.unary(
            Probe.Change, Question(number=number), deadline=Deadline.after(timeout), headers=headers
        )

    async def tally(self, tenant: str = "acme") -> tuple[int, int]:
        """How many entries there are, and their sum."""
        headers = [("x-graphmesh-tenant", tenant)]
        told = await self._served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(5), headers=headers)
        return told.number, int(told.text)

    @property
    def _served(self) -> Served:
        assert self.served
        return self.served


@asynccontextmanager
async def opened(store: Store[Tally]) -> AsyncIterator[Shop]:
    shop = Shop(store)
    async with probing({"Change": shop.change, "Ask": shop.read}, ROOMY) as served:
        shop.served = served
        yield shop


@asynccontextmanager
async def database(url: str, folder: Path) -> AsyncIterator[Database]:
    async with open_database(url, folder) as database:
        async with database.transaction() as connection:
            await connection.run_sync(tallies.metadata.create_all)
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/tally.db"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/tally.db" if request.param == "sqlite" else ""


@pytest_asyncio.fixture
async def shop(any_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    if not any_url:
        async with opened(MemoryStore(MemoryTally)) as shop:
            yield shop
        return
    async with database(any_url, tmp_path) as stored, opened(SqlStore(stored, SqlTally)) as shop:
        yield shop


async def raw(shop: Shop, number: int, key: str) -> bytes:
    """The bytes of an answer, as they come."""
    assert shop.served
    async with grpc.aio.insecure_channel(shop.served.address) as channel:
        call: Any = channel.unary_unary(Probe.Change.path, Question.SerializeToString)
        metadata = (("idempotency-key", key), ("x-graphmesh-tenant", "acme"))
        return bytes(await call(Question(number=number), timeout=5, metadata=metadata))


async def test_a_repeat_gets_the_same_bytes_and_does_nothing(shop: Shop) -> None:
    """Also where the answer has maps, whose order protobuf leaves open; also after other changes."""
    first = await raw(shop, 5, "k")
    await shop.add(7, "other")
    assert await raw(shop, 5, "k") == first
    assert await shop.tally() == (2, 12)


async def test_a_thousand_at_once_are_one(shop: Shop) -> None:
    """One entry, and a thousand equal answers."""
    answers = await asyncio.gather(*(shop.add(5, timeout=30) for _ in range(1000)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await shop.tally() == (1, 5)


async def test_different_keys_are_different_effects(shop: Shop) -> None:
    await asyncio.gather(*(shop.add(1, f"k{number}") for number in range(20)))
    assert await shop.tally() == (20, 20)


async def test_the_same_key_with_another_request_is_refused(shop: Shop) -> None:
    """Nothing is done, and the first outcome stays."""
    await shop.add(5)
    with pytest.raises(IdempotencyKeyReused):
        await shop.add(6)
    assert (await shop.add(5)).number == 5
    assert await shop.tally() == (1, 5)


async def test_tenants_do_not_share_keys(shop: Shop) -> None:
    """The same key of another tenant is another key, and shows nothing of the first (A1)."""
    await shop.add(5, tenant="acme")
    assert (await shop.add(6, tenant="blue")).number == 6
    assert (await shop.tally("acme"), await shop.tally("blue")) == ((1, 5), (1, 6))


async def test_an_error_of_the_callers_is_an_outcome_too(shop: Shop) -> None:
    """The change is rolled back; a repeat gets the same error, even where it would succeed by now."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        raise RuleViolated("too much", rule="cap")

    shop.then = refuse
    with pytest.raises(RuleViolated):
        await shop.add(5)
    shop.then = answer
    with pytest.raises(RuleViolated, match="too much") as repeated:
        await shop.add(5)
    assert repeated.value.data == {"rule": "cap"}
    assert await shop.tally() == (0, 0)


async def explode(effect: Effect[Tally], question: Any) -> Any:
    raise ValueError("a defect")


async def forget(effect: Effect[Tally], question: Any) -> Any:
    return Answer()


async def break_the_contract(effect: Effect[Tally], question: Any) -> Any:
    return effect.respond(Answer(text="x" * 101))


async def hang(effect: Effect[Tally], question: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("then", "error"),
    [(explode, Internal), (forget, Internal), (break_the_contract, InvalidResponse), (hang, DeadlineExceeded)],
)
async def test_a_failed_try_leaves_nothing(shop: Shop, then: Then, error: type[GraphmeshError]) -> None:
    """Neither the change nor the key: the same call again is a first one."""
    shop.then = then
    with pytest.raises(error):
        await shop.add(5, timeout=0.5 if then is hang else 10)
    assert await shop.tally() == (0, 0)
    shop.then = answer
    assert (await shop.add(5)).number == 5
    assert await shop.tally() == (1, 5)


async def test_a_caller_who_hangs_up_leaves_nothing(shop: Shop) -> None:
    """Cancelled between two statements, the transaction is gone and the next caller is not kept waiting."""
    began = asyncio.Event()

    async def hang(effect: Effect[Tally], question: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    shop.then = hang
    call = asyncio.create_task(shop.add(5))
    await began.wait()
    call.cancel()
    shop.then = answer
    assert (await shop.add(5)).number == 5
    assert await shop.tally() == (1, 5)


class Held:
    """A body that waits until it is let go."""

    def __init__(self) -> None:
        self.began, self.go, self.times = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self, effect: Effect[Tally], question: Any) -> Any:
        self.times += 1
        self.began.set()
        await self.go.wait()
        return await answer(effect, question)


async def test_a_repeat_waits_for_the_first(shop: Shop) -> None:
    """While the first is under way, a repeat waits and shares its outcome."""
    shop.then = held = Held()
    first = asyncio.create_task(shop.add(5))
    await held.began.wait()
    second = asyncio.create_task(shop.add(5))
    await asyncio.sleep(0.1)
    held.go.set()
    assert await first == await second
    assert held.times == 1


async def test_a_repeat_does_not_wait_for_ever(shop: Shop) -> None:
    """After half of its time it is told to come again, and when."""
    shop.then = held = Held()
    first = asyncio.create_task(shop.add(5))
    await held.began.wait()
    with pytest.raises(IdempotencyKeyInUse) as refused:
        await shop.add(5, timeout=0.6)
    assert refused.value.retry_after
    assert not refused.value.may_have_happened
    held.go.set()
    assert (await first) == (await shop.add(5))


async def test_a_repeat_takes_over_from_a_first_that_fails(shop: Shop) -> None:
    """Those who waited for a try that left nothing make the next one, one of them."""
    held = Held()

    async def fail_once(effect: Effect[Tally], question: Any) -> Any:
        shop.then = answer
        await held(effect, question)
        raise ValueError

    shop.then = fail_once
    first = asyncio.create_task(shop.add(5))
    await held.began.wait()
    others = [asyncio.create_task(shop.add(5)) for _ in range(10)]
    await asyncio.sleep(0.1)
    held.go.set()
    with pytest.raises(Internal):
        await first
    assert {answer.number for answer in await asyncio.gather(*others)} == {5}
    assert await shop.tally() == (1, 5)


Two = tuple[Shop, Shop]


@asynccontextmanager
async def two(url: str, folder: Path) -> AsyncIterator[Two]:
    """Two replicas on one database; each knows only its own calls."""
    async with (
        database(url, folder) as one,
        database(url, folder) as other,
        opened(SqlStore(one, SqlTally)) as first,
        opened(SqlStore(other, SqlTally)) as second,
    ):
        yield first, second


async def test_replicas_share_keys(url: str, tmp_path: Path) -> None:
    """Two hundred equal calls over two replicas are one effect."""
    async with two(url, tmp_path) as shops:
        answers = await asyncio.gather(*(shops[number % 2].add(5, timeout=30) for number in range(200)))
        assert {answer.number for answer in answers} == {5}
        assert await shops[0].tally() == (1, 5)


async def test_another_replicas_call_under_way_is_waited_for(postgres_url: str, tmp_path: Path) -> None:
    """PostgreSQL makes the second wait for the first one's key; then it is told to come again (lock_timeout)."""
    async with two(postgres_url, tmp_path) as (one, other):
        one.then = held = Held()
        first = asyncio.create_task(one.add(5))
        await held.began.wait()
        patient = asyncio.create_task(other.add(5, timeout=5))
        with pytest.raises(IdempotencyKeyInUse) as refused:
            await other.add(5, "k", timeout=0.6)
        assert refused.value.retry_after
        held.go.set()
        assert await first == await patient
        assert await one.tally() == (1, 5)


async def test_the_effects_table_is_an_audit(url: str, tmp_path: Path) -> None:
    """Who caused an effect, from which run and node, by which method and when, who agreed, and how it ended (E5)."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        raise RuleViolated(rule="cap")

    async with database(url, tmp_path) as stored, opened(SqlStore(stored, SqlTally)) as shop:
        assert shop.served
        headers = [(f"x-graphmesh-{name}", name.upper()) for name in HEADERS] + [("x-graphmesh-epoch", "7")]
        key = ("idempotency-key", "k")
        await shop.served.channel.unary(Probe.Change, Question(), deadline=Deadline.after(5), headers=[key, *headers])
        shop.then = refuse
        with pytest.raises(RuleViolated):
            await shop.add(1, "refused")
        async with stored.read() as connection:
            found = await connection.execute(sa.select(effects.table).order_by(effects.table.c.create_time))
            done, refused = found
    assert [getattr(done, name) for name in HEADERS] == [name.upper() for name in HEADERS]
    assert (done.tenant, done.key, done.method, done.epoch) == ("default", "k", Probe.Change.path, 7)
    assert done.create_time.tzinfo
    assert (done.result, refused.result) == ("OK", "RULE_VIOLATED")


def test_outside_of_a_call_there_is_no_tenant() -> None:
    """A store cannot be opened by accident for nobody."""
    with pytest.raises(LookupError):
        current_call()
