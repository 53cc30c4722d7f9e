"""Every store makes an effect exactly once: in memory, on SQLite, on PostgreSQL."""

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
from graphmesh_chassis import audit_log
from graphmesh_chassis.calls import current_call, fingerprint
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
HIGH_LIMITS = ServerSettings(policy=Overrides(service={"max_concurrency": 50, "max_queue": 2000}))
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
"""The part of a call's body that follows the addition of its number."""


async def respond(effect: Effect[Tally], question: Any) -> Any:
    total = sum(await effect.port.entries())
    return effect.respond(Answer(number=total, counts={f"k{number}": number for number in range(20)}))


@dataclass
class TallyServer:
    """A server whose one effect adds a number to a tally."""

    store: Store[Tally]
    then: Then = respond
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
        """The number of entries, and their sum."""
        headers = [("x-graphmesh-tenant", tenant)]
        response = await self._served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60), headers=headers)
        return response.number, int(response.text)

    @property
    def _served(self) -> Served:
        assert self.served
        return self.served


@asynccontextmanager
async def opened(store: Store[Tally]) -> AsyncIterator[TallyServer]:
    server = TallyServer(store)
    async with probing({"Change": server.change, "Ask": server.read}, HIGH_LIMITS) as served:
        server.served = served
        yield server


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
async def server(any_url: str, tmp_path: Path) -> AsyncIterator[TallyServer]:
    if not any_url:
        async with opened(MemoryStore(MemoryTally)) as server:
            yield server
        return
    async with database(any_url, tmp_path) as stored, opened(SqlStore(stored, SqlTally)) as server:
        yield server


async def raw(server: TallyServer, number: int, key: str) -> bytes:
    """The serialized response."""
    assert server.served
    async with grpc.aio.insecure_channel(server.served.address) as channel:
        call: Any = channel.unary_unary(Probe.Change.path, Question.SerializeToString)
        metadata = (("idempotency-key", key), ("x-graphmesh-tenant", "acme"))
        return bytes(await call(Question(number=number), timeout=60, metadata=metadata))


async def test_repeat_gets_the_same_bytes_and_changes_nothing(server: TallyServer) -> None:
    """Also where the response has maps, whose order protobuf leaves open, and after other changes."""
    first = await raw(server, 5, "k")
    await server.add(7, "other")
    assert await raw(server, 5, "k") == first
    assert await server.tally() == (2, 12)


async def test_a_thousand_concurrent_repeats_are_one_effect(server: TallyServer) -> None:
    """One entry, and a thousand equal responses."""
    answers = await asyncio.gather(*(server.add(5, timeout=60) for _ in range(1000)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await server.tally() == (1, 5)


async def test_different_keys_are_different_effects(server: TallyServer) -> None:
    await asyncio.gather(*(server.add(1, f"k{number}") for number in range(20)))
    assert await server.tally() == (20, 20)


async def test_key_with_another_request_is_refused(server: TallyServer) -> None:
    """Nothing is changed, and the first outcome stays."""
    await server.add(5)
    with pytest.raises(IdempotencyKeyReused):
        await server.add(6)
    assert (await server.add(5)).number == 5
    assert await server.tally() == (1, 5)


async def test_tenants_do_not_share_keys(server: TallyServer) -> None:
    """The same key of another tenant is another key, and reveals nothing of the first."""
    await server.add(5, tenant="acme")
    assert (await server.add(6, tenant="blue")).number == 6
    assert (await server.tally("acme"), await server.tally("blue")) == ((1, 5), (1, 6))


async def test_caller_error_is_a_stored_outcome(server: TallyServer) -> None:
    """The change is rolled back; a repeat gets the same error, even where it would succeed now."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        raise RuleViolated("too much", rule="cap")

    server.then = refuse
    with pytest.raises(RuleViolated):
        await server.add(5)
    server.then = respond
    with pytest.raises(RuleViolated, match="too much") as repeated:
        await server.add(5)
    assert repeated.value.data == {"rule": "cap"}
    assert await server.tally() == (0, 0)


async def raise_defect(effect: Effect[Tally], question: Any) -> Any:
    raise ValueError("a defect")


async def omit_respond(effect: Effect[Tally], question: Any) -> Any:
    return Answer()


async def violate_contract(effect: Effect[Tally], question: Any) -> Any:
    return effect.respond(Answer(text="x" * 101))


async def hang(effect: Effect[Tally], question: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("then", "error"),
    [(raise_defect, Internal), (omit_respond, Internal), (violate_contract, InvalidResponse), (hang, DeadlineExceeded)],
)
async def test_failed_attempt_leaves_nothing(server: TallyServer, then: Then, error: type[GraphmeshError]) -> None:
    """Neither the change nor the key: a repeat is a first call."""
    server.then = then
    with pytest.raises(error):
        await server.add(5, timeout=0.5 if then is hang else 60)
    assert await server.tally() == (0, 0)
    server.then = respond
    assert (await server.add(5)).number == 5
    assert await server.tally() == (1, 5)


async def test_cancelled_call_leaves_nothing(server: TallyServer) -> None:
    """Cancelled between two statements, its transaction is rolled back and does not delay the next call."""
    began = asyncio.Event()

    async def hang(effect: Effect[Tally], question: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    server.then = hang
    call = asyncio.create_task(server.add(5))
    await began.wait()
    call.cancel()
    server.then = respond
    assert (await server.add(5)).number == 5
    assert await server.tally() == (1, 5)


class Blocking:
    """A body that waits for `go`."""

    def __init__(self) -> None:
        self.began, self.go, self.times = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self, effect: Effect[Tally], question: Any) -> Any:
        self.times += 1
        self.began.set()
        await self.go.wait()
        return await respond(effect, question)


async def test_repeat_waits_for_the_first_call(server: TallyServer) -> None:
    """It shares the outcome of the call in progress."""
    server.then = held = Blocking()
    first = asyncio.create_task(server.add(5))
    await held.began.wait()
    second = asyncio.create_task(server.add(5))
    await asyncio.sleep(0.1)
    held.go.set()
    assert await first == await second
    assert held.times == 1


async def test_repeat_waits_half_of_its_time(server: TallyServer) -> None:
    """Then it is refused, with the time after which to retry."""
    server.then = held = Blocking()
    first = asyncio.create_task(server.add(5))
    await held.began.wait()
    with pytest.raises(IdempotencyKeyInUse) as refused:
        await server.add(5, timeout=8)
    assert refused.value.retry_after
    assert not refused.value.may_have_happened
    held.go.set()
    assert (await first) == (await server.add(5))


async def test_one_waiting_repeat_replaces_a_failed_first_call(server: TallyServer) -> None:
    """After a failed attempt one of the repeats that wait makes the effect, for all of them."""
    held = Blocking()

    async def fail_once(effect: Effect[Tally], question: Any) -> Any:
        server.then = respond
        await held(effect, question)
        raise ValueError

    server.then = fail_once
    first = asyncio.create_task(server.add(5))
    await held.began.wait()
    others = [asyncio.create_task(server.add(5)) for _ in range(10)]
    await asyncio.sleep(0.1)
    held.go.set()
    with pytest.raises(Internal):
        await first
    assert {answer.number for answer in await asyncio.gather(*others)} == {5}
    assert await server.tally() == (1, 5)


Two = tuple[TallyServer, TallyServer]


@asynccontextmanager
async def two(url: str, folder: Path) -> AsyncIterator[Two]:
    """Two replicas on one database, each with its own calls in progress."""
    async with (
        database(url, folder) as one,
        database(url, folder) as other,
        opened(SqlStore(one, SqlTally)) as first,
        opened(SqlStore(other, SqlTally)) as second,
    ):
        yield first, second


async def test_replicas_make_one_effect(url: str, tmp_path: Path) -> None:
    """Of two hundred equal calls to two replicas."""
    async with two(url, tmp_path) as servers:
        answers = await asyncio.gather(*(servers[number % 2].add(5, timeout=60) for number in range(200)))
        assert {answer.number for answer in answers} == {5}
        assert await servers[0].tally() == (1, 5)


async def test_repeat_at_another_replica_waits_for_the_first_call(postgres_url: str, tmp_path: Path) -> None:
    """PostgreSQL blocks the insert of the same key, until `lock_timeout`; then the repeat is refused."""
    async with two(postgres_url, tmp_path) as (one, other):
        one.then = held = Blocking()
        first = asyncio.create_task(one.add(5))
        await held.began.wait()
        patient = asyncio.create_task(other.add(5, timeout=60))
        with pytest.raises(IdempotencyKeyInUse) as refused:
            await other.add(5, "k", timeout=8)
        assert refused.value.retry_after
        held.go.set()
        assert await first == await patient
        assert await one.tally() == (1, 5)


async def test_effects_are_in_the_audit_log(url: str, tmp_path: Path) -> None:
    """With the subject, run, node, method, time, approval and result of each effect."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        raise RuleViolated(rule="cap")

    async with database(url, tmp_path) as stored, opened(SqlStore(stored, SqlTally)) as server:
        assert server.served
        headers = [(f"x-graphmesh-{name}", name.upper()) for name in HEADERS] + [("x-graphmesh-epoch", "7")]
        headers += [
            ("idempotency-key", "k"),
            ("x-graphmesh-approval-digest", fingerprint(Probe.Change.path, Question()).hex()),
        ]
        await server.served.channel.unary(Probe.Change, Question(), deadline=Deadline.after(60), headers=headers)
        server.then = refuse
        with pytest.raises(RuleViolated):
            await server.add(1, "refused")
        async with stored.read() as connection:
            found = await connection.execute(sa.select(audit_log.table).order_by(audit_log.table.c.entry_id))
            done, refused = found
    assert [getattr(done, name) for name in HEADERS] == [name.upper() for name in HEADERS]
    assert (done.tenant, done.key, done.method, done.epoch) == ("default", "k", Probe.Change.path, 7)
    assert done.create_time.tzinfo
    assert (done.result, refused.result) == ("OK", "RULE_VIOLATED")


def test_outside_of_a_call_there_is_no_tenant() -> None:
    """A store cannot be opened by accident without one."""
    with pytest.raises(LookupError):
        current_call()
