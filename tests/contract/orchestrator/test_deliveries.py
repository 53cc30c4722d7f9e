"""Deliveries in every store: the outbox of the ends of runs."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import Fenced, NotFound
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import status_changed
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.deliveries import CLAIM_SECONDS
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus

from tests.contract.orchestrator.stores import Stores
from tests.contract.orchestrator.test_journal import journal_of
from tests.contract.runs import a_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://hooks.example.com/runs"
ENDS = [status for status in RunStatus if status.is_final]


async def begun(stores: Stores, number: int = 1, webhook_url: str = URL) -> Run:
    """Add a run that a worker executes."""
    run = a_run(f"run_{number}", thread_id=f"th_{number}", created=NOW, webhook_url=webhook_url)
    return await stores.runs.add(run, "worker")


async def end(stores: Stores, run: Run, status: RunStatus = RunStatus.SUCCESS) -> None:
    """End a run through its journal."""
    async with journal_of(stores, run) as journal:
        journal.end(status)
        await journal.flush()


def a_delivery(number: int, host: str = "hooks.example.com") -> Delivery:
    url, created = f"https://{host}/runs", NOW + timedelta(seconds=number)
    return Delivery(f"whk_{number}", "acme", f"run_{number}", url, host, created, next_attempt=0)


async def found(stores: Stores, **columns: str) -> Sequence[Delivery]:
    return await stores.deliveries.find("acme", columns, None, 100)


@pytest.mark.parametrize("status", ENDS)
async def test_every_end_is_announced(stores: Stores, status: RunStatus) -> None:
    await end(stores, await begun(stores), status)
    [delivery] = await found(stores)
    assert (delivery.run_id, delivery.url, delivery.status) == ("run_1", URL, DeliveryStatus.PENDING)
    assert (delivery.host, delivery.attempts) == ("hooks.example.com", 0)


async def test_nothing_but_an_end_is_announced(stores: Stores) -> None:
    """A run that parks has not ended; one without a webhook is announced to no receiver."""
    await end(stores, await begun(stores, webhook_url=""))
    async with journal_of(stores, await begun(stores, 2)) as journal:
        journal.park(status_changed(RunStatus.INTERRUPTED), [])
    assert await found(stores) == []


async def test_fenced_worker_announces_nothing(stores: Stores) -> None:
    run = await begun(stores)
    await stores.advance(LEASE_SECONDS + 1)
    assert await stores.claimed() == ["run_1"]
    with pytest.raises((Fenced, asyncio.CancelledError)):
        await end(stores, run)
    assert await found(stores) == []


async def test_run_has_ended_if_and_only_if_its_delivery_is_stored(stores: Stores) -> None:
    """A process that dies before the commit leaves neither; the end that the next worker stores leaves both, once."""
    run = await begun(stores)

    async def die() -> None:
        raise MemoryError

    stores.writer.before_next(die)
    with pytest.raises(MemoryError):
        await end(stores, run)
    assert await found(stores) == []
    assert (await stores.runs.get("acme", "run_1")).state.ended is None
    await end(stores, run)
    assert len(await found(stores)) == 1
    assert (await stores.runs.get("acme", "run_1")).state.ended is not None


async def test_each_attempt_is_claimed_once(stores: Stores) -> None:
    await stores.add_deliveries(*(a_delivery(number) for number in range(30)))
    claimed = await asyncio.gather(*(stores.deliveries.claim(4, []) for _ in range(10)))
    names = [delivery.delivery_id for deliveries in claimed for delivery in deliveries]
    assert (len(names), len(set(names))) == (30, 30)
    assert max(map(len, claimed)) <= 4


async def test_attempt_of_a_dead_process_becomes_due_again(stores: Stores) -> None:
    """Only after longer than an attempt takes; a late outcome of the first attempt no longer counts."""
    deliveries = stores.deliveries
    await stores.add_deliveries(a_delivery(1))
    [first] = await deliveries.claim(8, [])
    assert await deliveries.claim(8, []) == []
    await stores.advance(CLAIM_SECONDS + 1)
    [second] = await deliveries.claim(8, [])
    assert (first.attempts, second.attempts) == (1, 2)
    await deliveries.record_failure(first, "ConnectError", None)
    await deliveries.record_success(first)
    [delivery] = await found(stores)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.PENDING, "")


async def test_failed_delivery_is_due_after_its_backoff(stores: Stores) -> None:
    deliveries = stores.deliveries
    await stores.add_deliveries(a_delivery(1))
    [first] = await deliveries.claim(8, [])
    await deliveries.record_failure(first, "HTTP 500", backoff=100)
    assert await deliveries.claim(8, []) == []
    assert [delivery.last_error for delivery in await found(stores)] == ["HTTP 500"]
    await stores.advance(101)
    [second] = await deliveries.claim(8, [])
    await deliveries.record_success(second)
    [delivery] = await found(stores, status="delivered")
    assert (delivery.attempts, delivery.last_error, delivery.delivered is not None) == (2, "", True)
    await stores.advance(10 * CLAIM_SECONDS)
    assert await deliveries.claim(8, []) == []


async def test_busy_hosts_are_skipped(stores: Stores) -> None:
    await stores.add_deliveries(a_delivery(1, "slow.example.com"), a_delivery(2))
    claimed = await stores.deliveries.claim(8, ["slow.example.com"])
    assert [delivery.delivery_id for delivery in claimed] == ["whk_2"]


async def test_delivery_that_is_due_the_longest_is_claimed_first(stores: Stores) -> None:
    deliveries = stores.deliveries
    await stores.add_deliveries(a_delivery(1), a_delivery(2))
    for backoff, attempt in zip((20, 10), sorted(await deliveries.claim(8, []), key=_id), strict=True):
        await deliveries.record_failure(attempt, "HTTP 500", backoff)
    await stores.advance(30)
    assert [_id(delivery) for delivery in await deliveries.claim(1, [])] == ["whk_2"]


async def test_dead_deliveries_are_retried_on_request(stores: Stores) -> None:
    deliveries = stores.deliveries
    await stores.add_deliveries(a_delivery(1), a_delivery(2))
    for attempt in await deliveries.claim(8, []):
        await deliveries.record_failure(attempt, "HTTP 500", backoff=None)
    assert await deliveries.claim(8, []) == []
    revived = await deliveries.retry("acme", "whk_1")
    assert (revived.status, revived.attempts) == (DeliveryStatus.PENDING, 0)
    assert list(map(_id, await found(stores, status="dead"))) == ["whk_2"]
    assert list(map(_id, await deliveries.claim(8, []))) == ["whk_1"]
    assert await deliveries.retry("acme", "whk_1") == (await found(stores, run_id="run_1"))[0]


async def test_delivery_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    await stores.add_deliveries(a_delivery(1))
    assert await stores.deliveries.find("globex", {}, None, 100) == []
    with pytest.raises(NotFound):
        await stores.deliveries.retry("globex", "whk_1")


async def test_outcome_of_a_deleted_delivery_is_dropped(stores: Stores) -> None:
    """Its run was deleted meanwhile."""
    await stores.deliveries.record_success(a_delivery(1))
    await stores.deliveries.record_failure(a_delivery(1), "HTTP 500", backoff=None)
    assert await found(stores) == []


async def test_find_returns_pages_the_newest_first(stores: Stores) -> None:
    await stores.add_deliveries(*(a_delivery(number) for number in range(5)))
    seen: list[str] = []
    before: Any = None
    while page := await stores.deliveries.find("acme", {}, before, 2):
        seen += map(_id, page)
        before = (page[-1].created, page[-1].delivery_id)
    assert seen == [f"whk_{number}" for number in reversed(range(5))]


async def test_next_due_is_that_of_the_first_pending_delivery(stores: Stores) -> None:
    """Also while it is being attempted."""
    deliveries = stores.deliveries
    assert await deliveries.next_due() is None
    await stores.add_deliveries(a_delivery(1))
    assert (await deliveries.next_due() or 0) < 0
    [attempt] = await deliveries.claim(10, [])
    assert await deliveries.next_due() == pytest.approx(CLAIM_SECONDS, abs=10)
    await deliveries.record_failure(attempt, "refused", 3600)
    assert await deliveries.next_due() == pytest.approx(3600, abs=60)
    await deliveries.record_failure(attempt, "refused", None)
    assert await deliveries.next_due() is None


def _id(delivery: Delivery) -> str:
    return delivery.delivery_id
