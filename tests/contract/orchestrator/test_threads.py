"""Threads in every store."""

from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.threads.thread import Deleted, Thread, ThreadStatus
from graphmesh_orchestrator.threads.threads import NEVER_EXPIRES

from tests.contract.orchestrator.stores import WORKER, SqlStores, Stores
from tests.contract.runs import a_run


async def test_thread_is_created_once(stores: Stores) -> None:
    """As it was requested, for each tenant."""
    created = await stores.threads.create("acme", "th", "chain", {"team": "ink"}, 3600)
    assert (created.graph, created.labels, created.status) == ("chain", {"team": "ink"}, ThreadStatus.IDLE)
    assert created.expires == created.updated + timedelta(hours=1)
    assert await stores.threads.get("acme", "th") == created
    with pytest.raises(AlreadyExists):
        await stores.threads.create("acme", "th", "", {}, 0)
    await stores.threads.create("other", "th", "", {}, 0)


async def test_status_is_that_of_the_run_that_holds_the_thread(stores: Stores) -> None:
    """It is derived, so that it is never out of date; lists are filtered by it."""
    for name in ("running", "interrupted", "success"):
        run = await stores.runs.add(a_run(f"run_{name}", thread_id=name), WORKER)
        if name == "interrupted":
            await stores.park(run)
        if name == "success":
            await stores.end(run.run_id)
    await stores.threads.create("acme", "new", "", {}, 0)
    expected = {"running": ThreadStatus.BUSY, "interrupted": ThreadStatus.INTERRUPTED, "success": ThreadStatus.IDLE}
    for name, status in {**expected, "new": ThreadStatus.IDLE}.items():
        assert (await stores.threads.get("acme", name)).status is status
        assert name in [found.thread_id for found in await stores.threads.find("acme", "", status, None, 10)]
    assert len(await stores.threads.find("acme", "", ThreadStatus.IDLE, None, 10)) == 2


async def test_run_that_waits_for_its_turn_does_not_hold_the_thread(stores: Stores) -> None:
    due = datetime.now(UTC).timestamp() + 3600
    await stores.runs.add(a_run(thread_id="th", due=due), WORKER)
    assert (await stores.threads.get("acme", "th")).status is ThreadStatus.IDLE


async def test_runs_update_their_thread(stores: Stores) -> None:
    """When they are created, begin and end."""
    moment = datetime.now(UTC) + timedelta(hours=1)
    run = await stores.runs.add(a_run(thread_id="th", created=moment), WORKER)
    assert (await stores.threads.get("acme", "th")).updated == moment
    ended = moment + timedelta(hours=1)
    await stores.end(run.run_id, status=RunStatus.ERROR, ended=ended)
    assert (await stores.threads.get("acme", "th")).updated == ended


async def test_find_returns_pages_the_newest_first(stores: Stores) -> None:
    """Every thread of the graph and the tenant is in one page."""
    for number in range(7):
        await stores.threads.create("acme", f"th_{number}", "chain", {}, 0)
    await stores.threads.create("acme", "another", "sub", {}, 0)
    await stores.threads.create("other", "th_0", "chain", {}, 0)
    found: list[Thread] = []
    while page := await stores.threads.find("acme", "chain", None, _position(found), 3):
        found += page
    assert [thread.thread_id for thread in found] == [f"th_{number}" for number in range(6, -1, -1)]


def _position(found: list[Thread]) -> tuple[datetime, str] | None:
    return (found[-1].created, found[-1].thread_id) if found else None


async def test_labels_and_time_to_live_are_updated_where_stated(stores: Stores) -> None:
    """An empty value deletes a label, the others stay. A thread without a time to live has that of the settings."""
    await stores.threads.create("acme", "th", "", {"a": "1", "b": "2"}, 60)
    changed = await stores.threads.update("acme", "th", {"a": "", "c": "3"}, None)
    assert (changed.labels, changed.time_to_live) == ({"b": "2", "c": "3"}, timedelta(minutes=1))
    assert (await stores.threads.update("acme", "th", {}, NEVER_EXPIRES)).time_to_live is None
    with_default = stores.threads_with(default_ttl=5)
    assert (await with_default.get("acme", "th")).time_to_live is None
    assert (await with_default.update("acme", "th", {}, 0)).time_to_live == timedelta(seconds=5)


async def test_thread_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    await stores.threads.create("acme", "th", "chain", {}, 0)
    with pytest.raises(NotFound):
        await stores.threads.get("other", "th")
    with pytest.raises(NotFound):
        await stores.threads.update("other", "th", {}, 0)
    assert await stores.threads.find("other", "", None, None, 10) == []


async def test_use_of_a_thread_has_the_time_of_the_database(
    sql_stores: SqlStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a process may be wrong: it must not delete threads that were used a moment ago, or keep old ones."""
    later = datetime.now(UTC) + timedelta(days=2)

    async def read_clock(_: object) -> datetime:
        return later

    monkeypatch.setattr("graphmesh_orchestrator.threads.threads_sql.read_clock", read_clock)
    thread = await sql_stores.threads.create("acme", "thread", "", {}, 0)
    assert thread.created == later
    assert await sql_stores.deletion.prune("acme", timedelta(days=1), delete=True, dry_run=True) == Deleted()
    later += timedelta(days=2)
    monkeypatch.setattr("graphmesh_orchestrator.threads.deletion_sql.read_clock", read_clock)
    assert await sql_stores.deletion.prune("acme", timedelta(days=1), delete=True, dry_run=True) == Deleted(1, 0, 0)
