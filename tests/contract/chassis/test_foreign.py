"""Every store makes an effect in a foreign system exactly once: in memory, on SQLite, on PostgreSQL."""

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
    HIGH_LIMITS,
    MemoryTally,
    SqlTally,
    Tally,
    TallyServer,
    Then,
    any_url,
    database,
    hang,
    omit_respond,
    raise_defect,
    respond,
    violate_contract,
)
from tests.integration.chassis.probe import Probe, Question, probing

__all__ = ["any_url"]


Behaviour = Callable[[], Awaitable[None]]


class Provider:
    """Charges once for each key. A test sets its behaviour `before` and `after` the charge."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}
        self.sent: list[str] = []
        self.before: Behaviour | None = None
        self.after: Behaviour | None = None
        self.cannot_find = False

    async def charge(self, amount: int, key: str) -> int:
        self.sent.append(key)
        if self.before:
            await self.before()
        self.charges.setdefault(key, amount)
        if self.after:
            await self.after()
        return self.charges[key]

    async def find(self, key: str) -> int | None:
        if self.cannot_find:
            raise ProviderUnavailable(provider="bank")
        return self.charges.get(key)


@dataclass
class ProviderServer(TallyServer):
    """A server whose one effect charges a number at a provider, and adds the charged number to a tally."""

    provider: Provider = field(default_factory=Provider)

    async def change(self, question: Any, context: Any) -> Any:
        async with self.store.foreign(
            lambda key: self.provider.charge(question.number, key), self.provider.find
        ) as effect:
            await effect.port.add(effect.result)
            return await self.then(effect, question)

    async def retried(self, number: int = 5, key: str = "k") -> Any:
        """The response to a repeat, retried while the key is in use."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await self.add(number, key)
                except IdempotencyKeyInUse as error:
                    await asyncio.sleep(error.retry_after or 0)


@asynccontextmanager
async def serving(server: ProviderServer) -> AsyncIterator[ProviderServer]:
    async with probing({"Change": server.change, "Ask": server.read}, HIGH_LIMITS) as served:
        server.served = served
        yield server


@pytest_asyncio.fixture
async def server(any_url: str, tmp_path: Path) -> AsyncIterator[ProviderServer]:
    if not any_url:
        async with serving(ProviderServer(MemoryStore(MemoryTally))) as server:
            yield server
        return
    async with database(any_url, tmp_path) as stored, serving(ProviderServer(SqlStore(stored, SqlTally))) as server:
        yield server


async def lose_response() -> None:
    raise ProviderUnavailable(provider="bank")


async def raise_defect_at_provider() -> None:
    raise ValueError("a defect")


async def hang_forever() -> None:
    await asyncio.Event().wait()


async def decline() -> None:
    raise RuleViolated("the card is declined", rule="card")


async def refuse(effect: Effect[Tally], question: Any) -> Any:
    raise RuleViolated(rule="too late")


async def test_repeat_sends_nothing(server: ProviderServer) -> None:
    """It gets the same response, and neither the provider nor the tally is called."""
    assert await server.add(5) == await server.add(5)
    assert (len(server.provider.sent), list(server.provider.charges.values())) == (1, [5])
    assert await server.tally() == (1, 5)


@pytest.mark.parametrize("how", [lose_response, raise_defect_at_provider, hang_forever])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_lost_response_is_one_charge(server: ProviderServer, when: str, how: Behaviour) -> None:
    """Whether or not the provider charged before the response was lost, a repeat queries it, and it charges once."""
    setattr(server.provider, when, how)
    with pytest.raises(GraphmeshError) as lost:
        await server.add(5, timeout=3)
    assert lost.value.may_have_happened
    assert await server.tally() == (0, 0)
    setattr(server.provider, when, None)
    assert await server.retried() == await server.add(5)
    assert list(server.provider.charges.values()) == [5]
    assert len(server.provider.sent) == (1 if when == "after" else 2)
    assert await server.tally() == (1, 5)


@pytest.mark.parametrize("then", [raise_defect, omit_respond, violate_contract, hang, refuse])
async def test_failure_to_record_leaves_the_outcome_open(server: ProviderServer, then: Then) -> None:
    """The provider has charged: no failure here, not even a CallerError, undoes that or charges twice."""
    server.then = then
    with pytest.raises(GraphmeshError) as failed:
        await server.add(5, timeout=3)
    assert failed.value.may_have_happened
    assert await server.tally() == (0, 0)
    server.then = respond
    assert (await server.retried()).number == 5
    assert (len(server.provider.sent), list(server.provider.charges.values())) == (1, [5])
    assert await server.tally() == (1, 5)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_cancelled_call_is_resolved_by_a_repeat(server: ProviderServer, when: str) -> None:
    """Cancelled while the provider works, its outcome is open; a repeat resolves it at once."""
    began = asyncio.Event()

    async def block() -> None:
        began.set()
        await hang_forever()

    setattr(server.provider, when, block)
    call = asyncio.create_task(server.add(5))
    await began.wait()
    call.cancel()
    setattr(server.provider, when, None)
    assert (await server.add(5)).number == 5
    assert list(server.provider.charges.values()) == [5]
    assert await server.tally() == (1, 5)


async def test_outcome_is_unknown_while_the_provider_cannot_tell(server: ProviderServer) -> None:
    """Until it can, nothing is sent and nothing stored; then a repeat resolves the outcome."""
    server.provider.after, server.provider.cannot_find = lose_response, True
    with pytest.raises(ProviderUnavailable):
        await server.add(5)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as unknown:
            await server.add(5)
        assert unknown.value.retryable
        assert unknown.value.may_have_happened
        assert unknown.value.data == {"key": "k"}
    assert len(server.provider.sent) == 1
    server.provider.cannot_find = False
    assert (await server.add(5)).number == 5
    assert len(server.provider.sent) == 1


async def test_refusal_of_the_provider_is_a_stored_outcome(server: ProviderServer) -> None:
    """A repeat gets the same error without a call to the provider, even where it would succeed now."""
    server.provider.before = decline
    for _ in range(2):
        with pytest.raises(RuleViolated, match="declined"):
            await server.add(5)
        server.provider.before = None
    assert (len(server.provider.sent), server.provider.charges) == (1, {})
    assert await server.tally() == (0, 0)


async def test_open_key_with_another_request_is_refused(server: ProviderServer) -> None:
    """The other request does not resolve the outcome."""
    server.provider.after = lose_response
    with pytest.raises(ProviderUnavailable):
        await server.add(5)
    with pytest.raises(IdempotencyKeyReused):
        await server.add(6)
    assert list(server.provider.charges.values()) == [5]


async def test_provider_key_differs_by_key_and_tenant(server: ProviderServer) -> None:
    """It does not contain the effect key."""
    for key, tenant in (("k", "acme"), ("other", "acme"), ("k", "blue")):
        await server.add(5, key, tenant)
    assert len(set(server.provider.sent)) == 3
    assert all(len(sent) == 64 and "k" not in sent for sent in server.provider.sent)


async def test_earlier_epoch_sends_nothing(server: ProviderServer) -> None:
    """After a takeover the old worker is fenced before the provider is called."""

    async def charge(key: str, epoch: int) -> None:
        assert server.served
        headers = [("idempotency-key", key), ("x-graphmesh-run", "run_1"), ("x-graphmesh-epoch", str(epoch))]
        await server.served.channel.unary(
            Probe.Change, Question(number=1), deadline=Deadline.after(60), headers=headers
        )

    await charge("new", 2)
    with pytest.raises(Fenced):
        await charge("old", 1)
    assert len(server.provider.sent) == 1


async def test_open_key_is_not_repeated_without_the_provider(server: ProviderServer) -> None:
    """A method that called a provider, and in the next release does not, must not repeat an effect that may have
    happened."""
    server.provider.after = lose_response
    with pytest.raises(ProviderUnavailable):
        await server.add(5)
    async with serving(Local(server.store)) as local:
        with pytest.raises(OutcomeUnknown):
            await local.add(5)
    assert await server.tally() == (0, 0)


class Local(ProviderServer):
    async def change(self, question: Any, context: Any) -> Any:
        return await TallyServer.change(self, question, context)
