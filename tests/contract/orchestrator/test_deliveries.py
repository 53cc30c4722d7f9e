"""The outbox of the ends of runs, on SQLite and PostgreSQL (B3, C5)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced, NotFound
from graphmesh_nodes.budget import Budget, Limits, Usage
from graphmesh_orchestrator.checkpoints import GroupCommit
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.webhooks.deliveries_sql import CLAIM_SECONDS, SqlDeliveries, deliveries, values_of
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus
from graphmesh_orchestrator.worker.journal import Journal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://hooks.example.com/runs"
ENDS = [status for status in RunStatus if not status.is_active and status is not RunStatus.INTERRUPTED]


async def begun(database: Database, number: int = 1, webhook_url: str = URL) -> Run:
    """A run that a worker executes."""
    run = Run(f"run_{number}", "acme", "ana", f"th_{number}", "pay", {}, NOW, NOW + timedelta(hours=1), 25)
    return await SqlRuns(database).add(replace(run, webhook_url=webhook_url), "worker")


def journal_of(run: Run, commits: GroupCommit) -> Journal:
    return Journal(commits, Notifier(), run, Budget(Limits(), Usage(), lambda: None))


async def end(run: Run, commits: GroupCommit, status: RunStatus = RunStatus.SUCCESS) -> None:
    async with journal_of(run, commits) as journal:
        journal.end(status)


def a_delivery(number: int, host: str = "hooks.example.com") -> Delivery:
    url, created = f"https://{host}/runs", NOW + timedelta(seconds=number)
    return Delivery(f"whk_{number}", "acme", f"run_{number}", url, host, created, next_attempt=0)


async def added(database: Database, *new: Delivery) -> SqlDeliveries:
    async with database.transaction() as connection:
        await connection.execute(sa.insert(deliveries), [values_of(delivery) for delivery in new])
    return SqlDeliveries(database)


async def found(database: Database, **wanted: str) -> list[Delivery]:
    return await SqlDeliveries(database).find("acme", wanted, None, 100)


async def pass_time(database: Database, seconds: float) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.update(deliveries).values(next_attempt=deliveries.c.next_attempt - seconds))


@pytest.mark.parametrize("status", ENDS)
async def test_every_end_is_announced(database: Database, commits: GroupCommit, status: RunStatus) -> None:
    await end(await begun(database), commits, status)
    [delivery] = await found(database)
    assert (delivery.run_id, delivery.url, delivery.status) == ("run_1", URL, DeliveryStatus.PENDING)


async def test_nothing_else_is_announced(database: Database, commits: GroupCommit) -> None:
    """A run that parks has not ended; one without an address has nobody to tell."""
    await end(await begun(database, webhook_url=""), commits)
    async with journal_of(await begun(database, 2), commits) as journal:
        journal.park([], [])
    assert await found(database) == []


async def test_a_run_has_ended_if_and_only_if_its_delivery_is_stored(
    database: Database, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies just before the commit leaves neither; the next worker's end leaves both, once."""
    run = await begun(database)

    async def dies(self: GroupCommit, *_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(GroupCommit, "_update_runs", dies)
        with pytest.raises(MemoryError):
            await end(run, commits)
    assert await found(database) == []
    assert (await SqlRuns(database).get("acme", "run_1")).ended is None
    await end(run, commits)
    assert len(await found(database)) == 1
    assert (await SqlRuns(database).get("acme", "run_1")).ended is not None


async def test_a_worker_that_was_taken_over_announces_nothing(database: Database, commits: GroupCommit) -> None:
    run = await begun(database)
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(lease_expires=0))
    await SqlLeases(database, "other").claim([("pay", 1)], 1)
    with pytest.raises((Fenced, asyncio.CancelledError)):
        await end(run, commits)
    assert await found(database) == []


async def test_each_try_is_one_process_alone(database: Database) -> None:
    store = await added(database, *(a_delivery(number) for number in range(30)))
    taken = await asyncio.gather(*(store.claim(4, []) for _ in range(10)))
    names = [delivery.delivery_id for some in taken for delivery in some]
    assert (len(names), len(set(names))) == (30, 30)


async def test_what_a_dead_process_has_taken_comes_back(database: Database) -> None:
    """Only after longer than a try takes; and a late word of the first try no longer counts."""
    store = await added(database, a_delivery(1))
    [first] = await store.claim(8, [])
    assert await store.claim(8, []) == []
    await pass_time(database, CLAIM_SECONDS + 1)
    [second] = await store.claim(8, [])
    assert (first.attempts, second.attempts) == (1, 2)
    await store.failed(first, "ConnectError", None)
    [delivery] = await found(database)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.PENDING, "")


async def test_what_failed_waits_for_its_time(database: Database) -> None:
    store = await added(database, a_delivery(1))
    [tried] = await store.claim(8, [])
    await store.failed(tried, "HTTP 500", wait=100)
    assert await store.claim(8, []) == []
    await pass_time(database, 101)
    [again] = await store.claim(8, [])
    await store.delivered(again)
    [delivery] = await found(database, status="delivered")
    assert (delivery.attempts, delivery.last_error, delivery.delivered is not None) == (2, "", True)
    await pass_time(database, 10 * CLAIM_SECONDS)
    assert await store.claim(8, []) == []


async def test_busy_hosts_are_passed_over(database: Database) -> None:
    store = await added(database, a_delivery(1, "slow.example.com"), a_delivery(2))
    assert [delivery.delivery_id for delivery in await store.claim(8, ["slow.example.com"])] == ["whk_2"]


async def test_dead_ones_are_found_and_tried_again(database: Database) -> None:
    store = await added(database, a_delivery(1), a_delivery(2))
    for tried in await store.claim(8, []):
        await store.failed(tried, "HTTP 500", wait=None)
    assert await store.claim(8, []) == []
    revived = await store.retry("acme", "whk_1")
    assert (revived.status, revived.attempts) == (DeliveryStatus.PENDING, 0)
    assert [delivery.delivery_id for delivery in await found(database, status="dead")] == ["whk_2"]
    assert [delivery.delivery_id for delivery in await store.claim(8, [])] == ["whk_1"]
    assert await store.retry("acme", "whk_1") == (await found(database, run_id="run_1"))[0]


async def test_another_tenants_is_not_there(database: Database) -> None:
    """G1."""
    store = await added(database, a_delivery(1))
    assert await store.find("globex", {}, None, 100) == []
    with pytest.raises(NotFound):
        await store.retry("globex", "whk_1")


async def test_pages_go_from_new_to_old(database: Database) -> None:
    store = await added(database, *(a_delivery(number) for number in range(5)))
    seen: list[str] = []
    before: Any = None
    while page := await store.find("acme", {}, before, 2):
        seen += [delivery.delivery_id for delivery in page]
        before = (page[-1].created, page[-1].delivery_id)
    assert seen == [f"whk_{number}" for number in reversed(range(5))]


async def test_the_next_that_is_due_is_told(database: Database) -> None:
    """Of those that are pending, also while somebody tries one."""
    store = SqlDeliveries(database)
    assert await store.next_due() is None
    await added(database, a_delivery(1))
    assert (await store.next_due() or 0) < 0
    [tried] = await store.claim(10, [])
    assert await store.next_due() == pytest.approx(CLAIM_SECONDS, abs=10)
    await store.failed(tried, "refused", 3600)
    assert await store.next_due() == pytest.approx(3600, abs=60)
    await store.failed(tried, "refused", None)
    assert await store.next_due() is None
