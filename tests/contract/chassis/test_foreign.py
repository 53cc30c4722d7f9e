"""Every store makes an effect in somebody else's system exactly once: in memory, on SQLite, on PostgreSQL (E3)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effects import Effect
from graphmesh_chassis.errors import (
    Fenced,
    GraphmeshError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ProviderUnavailable,
    RuleViolated,
)
from graphmesh_chassis.store import MemoryStore, SqlStore

from tests.contract.chassis.test_effects import (
    ROOMY,
    MemoryTally,
    Shop,
    SqlTally,
    Tally,
    Then,
    answer,
    any_url,
    break_the_contract,
    database,
    explode,
    forget,
    hang,
)
from tests.integration.chassis.probe import Probe, Question, probing

__all__ = ["any_url"]


Doing = Callable[[], Awaitable[None]]


class Provider:
    """Charges once for each key, however often it is asked to; what it does beside that, a test says."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}
        self.sent: list[str] = []
        self.before: Doing | None = None
        self.after: Doing | None = None
        self.forgets_how_to_look = False

    async def charge(self, amount: int, key: str) -> int:
        self.sent.append(key)
        if self.before:
            await self.before()
        self.charges.setdefault(key, amount)
        if self.after:
            await self.after()
        return self.charges[key]

    async def find(self, key: str) -> int | None:
        if self.forgets_how_to_look:
            raise ProviderUnavailable(provider="bank")
        return self.charges.get(key)


@dataclass
class Office(Shop):
    """A server whose one effect charges a number at a provider, and adds to a tally what was charged."""

    provider: Provider = field(default_factory=Provider)

    async def change(self, question: Any, context: Any) -> Any:
        async with self.store.foreign(
            lambda key: self.provider.charge(question.number, key), self.provider.find
        ) as effect:
            await effect.port.add(effect.done)
            return await self.then(effect, question)

    async def settled(self, number: int = 5, key: str = "k") -> Any:
        """What a repeat gets, which comes again for as long as it is told to."""
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.add(number, key)
                except IdempotencyKeyInUse as error:
                    await asyncio.sleep(error.retry_after or 0)


@asynccontextmanager
async def serving(office: Office) -> AsyncIterator[Office]:
    async with probing({"Change": office.change, "Ask": office.read}, ROOMY) as served:
        office.served = served
        yield office


@pytest_asyncio.fixture
async def office(any_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    if not any_url:
        async with serving(Office(MemoryStore(MemoryTally))) as office:
            yield office
        return
    async with database(any_url, tmp_path) as stored, serving(Office(SqlStore(stored, SqlTally))) as office:
        yield office


async def lose() -> None:
    raise ProviderUnavailable(provider="bank")


async def fail() -> None:
    raise ValueError("a defect")


async def stay_away() -> None:
    await asyncio.Event().wait()


async def decline() -> None:
    raise RuleViolated("the card is declined", rule="card")


async def refuse(effect: Effect[Tally], question: Any) -> Any:
    raise RuleViolated(rule="too late")


async def test_a_repeat_sends_nothing(office: Office) -> None:
    """It gets the same answer; neither the provider nor the tally hears of it."""
    assert await office.add(5) == await office.add(5)
    assert (len(office.provider.sent), list(office.provider.charges.values())) == (1, [5])
    assert await office.tally() == (1, 5)


@pytest.mark.parametrize("how", [lose, fail, stay_away])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_answer_is_one_charge(office: Office, when: str, how: Doing) -> None:
    """Whether the provider did it before the answer was lost, or not: it is asked, and has charged once in the end."""
    setattr(office.provider, when, how)
    with pytest.raises(GraphmeshError) as lost:
        await office.add(5, timeout=2)
    assert lost.value.may_have_happened
    assert await office.tally() == (0, 0)
    setattr(office.provider, when, None)
    assert await office.settled() == await office.add(5)
    assert list(office.provider.charges.values()) == [5]
    assert len(office.provider.sent) == (1 if when == "after" else 2)
    assert await office.tally() == (1, 5)


@pytest.mark.parametrize("then", [explode, forget, break_the_contract, hang, refuse])
async def test_what_cannot_be_recorded_stays_open(office: Office, then: Then) -> None:
    """The provider has done it: no failure of ours, not even a refusal, makes that undone or done twice."""
    office.then = then
    with pytest.raises(GraphmeshError) as failed:
        await office.add(5, timeout=2)
    assert failed.value.may_have_happened
    assert await office.tally() == (0, 0)
    office.then = answer
    assert (await office.settled()).number == 5
    assert (len(office.provider.sent), list(office.provider.charges.values())) == (1, [5])
    assert await office.tally() == (1, 5)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_caller_who_hangs_up(office: Office, when: str) -> None:
    """Cancelled while the provider works, the effect is open; a repeat settles it at once."""
    began = asyncio.Event()

    async def stay() -> None:
        began.set()
        await stay_away()

    setattr(office.provider, when, stay)
    call = asyncio.create_task(office.add(5))
    await began.wait()
    call.cancel()
    setattr(office.provider, when, None)
    assert (await office.add(5)).number == 5
    assert list(office.provider.charges.values()) == [5]
    assert await office.tally() == (1, 5)


async def test_where_the_provider_cannot_say_nothing_is_guessed(office: Office) -> None:
    """Nothing is sent and nothing stored, for as long as it cannot; then it is settled."""
    office.provider.after, office.provider.forgets_how_to_look = lose, True
    with pytest.raises(ProviderUnavailable):
        await office.add(5)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as unknown:
            await office.add(5)
        assert unknown.value.retryable
        assert unknown.value.may_have_happened
        assert unknown.value.data == {"key": "k"}
    assert len(office.provider.sent) == 1
    office.provider.forgets_how_to_look = False
    assert (await office.add(5)).number == 5
    assert len(office.provider.sent) == 1


async def test_a_refusal_of_the_provider_is_an_outcome(office: Office) -> None:
    """A repeat gets the same error without asking, even where it would succeed by now."""
    office.provider.before = decline
    for _ in range(2):
        with pytest.raises(RuleViolated, match="declined"):
            await office.add(5)
        office.provider.before = None
    assert (len(office.provider.sent), office.provider.charges) == (1, {})
    assert await office.tally() == (0, 0)


async def test_an_open_key_is_of_its_request(office: Office) -> None:
    """Another request with it is refused, and does not settle it."""
    office.provider.after = lose
    with pytest.raises(ProviderUnavailable):
        await office.add(5)
    with pytest.raises(IdempotencyKeyReused):
        await office.add(6)
    assert list(office.provider.charges.values()) == [5]


async def test_the_provider_gets_a_key_of_its_own(office: Office) -> None:
    """Not ours, and another for each key and tenant."""
    for key, tenant in (("k", "acme"), ("other", "acme"), ("k", "blue")):
        await office.add(5, key, tenant)
    assert len(set(office.provider.sent)) == 3
    assert all(len(sent) == 64 and "k" not in sent for sent in office.provider.sent)


async def test_an_epoch_that_is_over_sends_nothing(office: Office) -> None:
    """Of a run that was taken over, the old worker is refused before the provider hears of it (invariant 4)."""

    async def charge(key: str, epoch: int) -> None:
        assert office.served
        headers = [("idempotency-key", key), ("x-graphmesh-run", "run_1"), ("x-graphmesh-epoch", str(epoch))]
        await office.served.channel.unary(
            Probe.Change, Question(number=1), deadline=Deadline.after(10), headers=headers
        )

    await charge("new", 2)
    with pytest.raises(Fenced):
        await charge("old", 1)
    assert len(office.provider.sent) == 1


async def test_an_open_key_is_no_effect_of_ours(office: Office) -> None:
    """A method that had a provider, and has none in the next release, does not do again what may have happened."""
    office.provider.after = lose
    with pytest.raises(ProviderUnavailable):
        await office.add(5)
    async with serving(Local(office.store)) as local:
        with pytest.raises(OutcomeUnknown):
            await local.add(5)
    assert await office.tally() == (0, 0)


class Local(Office):
    async def change(self, question: Any, context: Any) -> Any:
        return await Shop.change(self, question, context)
