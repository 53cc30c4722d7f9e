"""Schedules in every store: claims, ticks, bounds."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_orchestrator.errors import ResourceLimit, ThreadBusy, WrongGraph
from graphmesh_orchestrator.runs.run import Multitask, Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.schedules.schedule import Due, Progress, Schedule, ScheduleStatus, Spec
from graphmesh_orchestrator.schedules.schedules import CLAIM_SECONDS, UNKNOWN_GRAPH_SECONDS, Tick
from graphmesh_orchestrator.schedules.schedules_sql import SqlSchedules
from graphmesh_orchestrator.schedules.timing import Timing

from tests.contract.databases import engine_events
from tests.contract.orchestrator.stores import TENANT, SqlStores, Stores
from tests.contract.runs import a_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRAPHS = ["pay"]


def a_schedule(
    schedule_id: str = "s",
    tick: float = 0,
    *,
    tenant: str = TENANT,
    graph: str = "pay",
    created: datetime = NOW,
    **own: Any,
) -> Schedule:
    """Return an hourly schedule whose next tick is at `tick`."""
    spec = Spec(b"run", graph, "", Timing("0 * * * *", "UTC", 0, 0, 0), labels={"a": "b"})
    progress = Progress(next_tick=int(tick))
    uid = f"uid-{tenant}-{schedule_id}"
    return Schedule(tenant, schedule_id, uid, "ana", spec, created, created, **{"progress": progress, **own})


async def added(stores: Stores, schedule_id: str = "s", late: float = 10, **own: Any) -> Schedule:
    """Add a schedule whose next tick was so many seconds ago."""
    schedule = a_schedule(schedule_id, await stores.now() - late, **own)
    await stores.schedules.create(schedule)
    return schedule


async def claimed(stores: Stores, limit: int = 10) -> list[Schedule]:
    found = (await stores.schedules.claim(GRAPHS, limit)).schedules
    return sorted(found, key=lambda schedule: (schedule.tenant, schedule.schedule_id))


def run_of(schedule: Schedule, number: int = 1, **fields: Any) -> Run:
    """Return the run of a schedule's next tick, as one worker makes it."""
    request_id = f"{schedule.uid}.{int(schedule.progress.next_tick)}"
    own = {"schedule_id": schedule.schedule_id, "request_id": request_id, "fingerprint": b"f", **fields}
    return a_run(f"run_{number}", tenant=schedule.tenant, **own)


def moved(schedule: Schedule) -> Schedule:
    """Return a schedule after its tick has run."""
    tick = int(schedule.progress.next_tick)
    progress = replace(schedule.progress, next_tick=tick + 3600, last_tick=tick, run_count=1)
    return replace(schedule, progress=progress)


@pytest.mark.parametrize("roles", [None, [], ["support_agent"]])
async def test_schedule_keeps_the_roles_and_the_client_of_its_caller(stores: Stores, roles: list[str] | None) -> None:
    """Until another one specifies it anew."""
    await added(stores, roles=roles, client="web")
    stored = await stores.schedules.get(TENANT, "s")
    assert (stored.roles, stored.client) == (roles, "web")
    by_bob = await stores.schedules.change(
        TENANT, "s", lambda one: one.respecified(one.spec, "bob", ["lead"], "app", 0)
    )
    assert (by_bob.subject, by_bob.roles, by_bob.client) == ("bob", ["lead"], "app")
    assert await stores.schedules.get(TENANT, "s") == by_bob


async def test_schedule_is_read_as_it_was_created(stores: Stores) -> None:
    progress = Progress(5.0, 4.0, "run_9", b"e", 3, 2, 1.0)
    created = a_schedule(progress=progress, status=ScheduleStatus.PAUSED)
    await stores.schedules.create(created)
    assert await stores.schedules.get(TENANT, "s") == created
    with pytest.raises(AlreadyExists, match="schedule s"):
        await stores.schedules.create(a_schedule())


async def test_schedules_of_a_tenant_are_bounded(stores: Stores) -> None:
    schedules = stores.schedules_with(max_schedules=2)
    for name in "ab":
        await schedules.create(a_schedule(name))
    with pytest.raises(ResourceLimit, match="2 schedules"):
        await schedules.create(a_schedule("c"))
    await schedules.create(a_schedule("c", tenant="globex"))


async def test_schedule_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    await added(stores)
    for call in (
        stores.schedules.get("globex", "s"),
        stores.schedules.change("globex", "s", Schedule.paused),
        stores.schedules.delete("globex", "s"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await stores.schedules.find("globex", {}, None, 10) == []


async def test_find_returns_pages_the_newest_first(stores: Stores) -> None:
    for number in range(5):
        created = NOW + timedelta(seconds=number)
        await stores.schedules.create(a_schedule(f"s{number}", graph=f"g{number % 2}", created=created))
    seen: list[str] = []
    before: Any = None
    while page := await stores.schedules.find(TENANT, {}, before, 2):
        seen += [schedule.schedule_id for schedule in page]
        before = (page[-1].created, page[-1].schedule_id)
    assert seen == ["s4", "s3", "s2", "s1", "s0"]
    found = await stores.schedules.find(TENANT, {"graph": "g1", "status": "active"}, None, 10)
    assert [schedule.schedule_id for schedule in found] == ["s3", "s1"]
    assert await stores.schedules.find(TENANT, {"status": "paused"}, None, 10) == []


async def test_next_due_is_that_of_the_first_active_schedule(stores: Stores) -> None:
    assert await stores.schedules.next_due() is None
    await added(stores, "paused", status=ScheduleStatus.PAUSED)
    assert await stores.schedules.next_due() is None
    await added(stores, "later", late=-3600)
    assert await stores.schedules.next_due() == pytest.approx(3600, abs=30)
    await added(stores, "due", late=10)
    assert (await stores.schedules.next_due() or 0) < 0


async def test_due_schedule_is_claimed_by_one_worker(stores: Stores) -> None:
    for number in range(20):
        await added(stores, f"s{number:02}")
    await added(stores, "later", late=-3600)
    claims = await asyncio.gather(*(stores.schedules.claim(GRAPHS, 20) for _ in range(4)))
    ids = [schedule.schedule_id for claim in claims for schedule in claim.schedules]
    assert sorted(ids) == [f"s{number:02}" for number in range(20)]


async def test_schedule_of_a_dead_worker_is_claimed_again(stores: Stores) -> None:
    await added(stores)
    assert len(await claimed(stores)) == 1
    assert await claimed(stores) == []
    await stores.advance(CLAIM_SECONDS + 1)
    assert len(await claimed(stores)) == 1


async def test_claim_that_a_jump_back_made_long_ends(stores: Stores) -> None:
    await added(stores, late=7200)
    await claimed(stores)
    await stores.advance(-3600)
    assert len(await claimed(stores)) == 1


async def test_schedule_that_was_moved_in_the_future_is_due(stores: Stores) -> None:
    """The clock was set forward, the schedule was moved, and the clock was set back."""
    await added(stores, late=-3600)
    assert await claimed(stores) == []
    await stores.advance(-7200)
    assert await stores.schedules.next_due() == 0
    [schedule] = await claimed(stores)
    assert await stores.schedules.move(schedule, schedule)
    assert await claimed(stores) == []


async def test_tenants_take_turns(stores: Stores) -> None:
    """The schedules of one tenant, however many and late, delay those of others by one batch at most."""
    for number in range(30):
        await added(stores, f"s{number}", late=100 + number)
    await added(stores, "other", tenant="globex", late=1)
    assert [schedule.tenant for schedule in await claimed(stores, 4)] == [TENANT] * 3 + ["globex"]


async def test_schedule_of_another_graph_is_left_to_workers_that_have_it(stores: Stores) -> None:
    await added(stores, graph="new", late=UNKNOWN_GRAPH_SECONDS - 20)
    assert await claimed(stores) == []
    await stores.advance(30)
    assert len(await claimed(stores)) == 1


async def test_tick_stores_its_run_and_moves_the_schedule(stores: Stores) -> None:
    await added(stores)
    [schedule] = await claimed(stores)
    run = await stores.schedules.fire(schedule, moved(schedule), run_of(schedule))
    assert run is not None
    after = await stores.schedules.get(TENANT, "s")
    assert after.progress == replace(moved(schedule).progress, last_run_id="run_1")
    [stored] = await stores.runs.find(TENANT, {"schedule_id": "s"}, None, 10)
    assert stored.run_id == "run_1"
    assert await stores.claimed() == ["run_1"]


async def test_workers_at_the_same_tick_store_one_run(stores: Stores) -> None:
    """Also where each believes that it has claimed the schedule."""
    await added(stores)
    [schedule] = await claimed(stores)
    firing = (stores.schedules.fire(schedule, moved(schedule), run_of(schedule, number)) for number in range(5))
    outcomes = await asyncio.gather(*firing)
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(await stores.runs.find(TENANT, {}, None, 10)) == 1


async def test_tick_whose_run_exists_already_has_no_second_one(stores: Stores) -> None:
    """The clock was set back, and a tick comes again."""
    await added(stores)
    [schedule] = await claimed(stores)
    await stores.schedules.fire(schedule, moved(schedule), run_of(schedule, 1))
    await stores.schedules.change(TENANT, "s", lambda after: replace(after, progress=schedule.progress))
    again = await stores.schedules.get(TENANT, "s")
    run = await stores.schedules.fire(again, moved(again), run_of(again, 2))
    assert run is not None
    assert run.run_id == "run_1"
    assert len(await stores.runs.find(TENANT, {}, None, 10)) == 1


@pytest.mark.parametrize("change", [Schedule.paused, lambda schedule: replace(schedule, subject="bob")])
async def test_worker_is_fenced_by_a_change(stores: Stores, change: Callable[[Schedule], Schedule]) -> None:
    await added(stores)
    [schedule] = await claimed(stores)
    await stores.schedules.change(TENANT, "s", change)
    assert await stores.schedules.fire(schedule, moved(schedule), run_of(schedule)) is None
    assert not await stores.schedules.move(schedule, moved(schedule))
    assert await stores.runs.find(TENANT, {}, None, 10) == []


async def test_worker_is_fenced_by_a_deletion(stores: Stores) -> None:
    """Also where a schedule of the same id was created since."""
    await added(stores)
    [schedule] = await claimed(stores)
    await stores.schedules.delete(TENANT, "s")
    assert await stores.schedules.fire(schedule, moved(schedule), run_of(schedule)) is None
    await stores.schedules.create(replace(schedule, uid="another"))
    assert await stores.schedules.fire(schedule, moved(schedule), run_of(schedule)) is None
    assert await stores.runs.find(TENANT, {}, None, 10) == []


async def test_refused_run_leaves_the_schedule_as_it_is(stores: Stores) -> None:
    await stores.runs.add(a_run("run_0", thread_id="th"), "")
    await added(stores)
    [schedule] = await claimed(stores)
    rejected = run_of(schedule, thread_id="th")
    with pytest.raises(ThreadBusy):
        await stores.schedules.fire(schedule, moved(schedule), rejected)
    assert await stores.schedules.get(TENANT, "s") == schedule
    enqueued = run_of(schedule, thread_id="th", multitask=Multitask.ENQUEUE)
    assert await stores.schedules.fire(schedule, moved(schedule), enqueued)


@pytest.mark.parametrize("strategy", [Multitask.INTERRUPT, Multitask.ROLLBACK])
async def test_tick_preempts_the_run_before(stores: Stores, strategy: Multitask) -> None:
    await stores.begun(a_run("run_0", thread_id="th"))
    await added(stores)
    [schedule] = await claimed(stores)
    await stores.schedules.fire(schedule, moved(schedule), run_of(schedule, thread_id="th", multitask=strategy))
    assert await stores.cancelled() == {"run_0"}


async def test_ticks_of_several_schedules_are_stored_together(stores: Stores) -> None:
    """Each has its run once; those that a store cannot distinguish are left, and a schedule that has changed is not
    touched."""
    await stores.runs.add(a_run("run_0", thread_id="busy"), "")
    await stores.runs.add(a_run("run_1", graph="ship", thread_id="other"), "")
    await stores.end("run_1")
    names = ("plain", "busy", "other", "known", "left out", "same", "changed", "wrong")
    for name in names:
        await added(stores, name.replace(" ", "_"), tenant="two" if name == "same" else TENANT)
    read = {schedule.schedule_id: schedule for schedule in await claimed(stores)}
    ticks = {
        name: Tick(schedule, moved(schedule), run_of(schedule, number, thread_id=name), Due(1, None))
        for number, (name, schedule) in enumerate(read.items(), 10)
    }
    ticks["left_out"] = replace(ticks["left_out"], run=None)
    known = run_of(read["known"], 2)
    await stores.runs.add(known, "")
    await stores.schedules.change(TENANT, "changed", lambda schedule: replace(schedule, subject="bob"))

    left = await stores.schedules.fire_all(list(ticks.values()))
    for tick in left:
        assert tick.run is not None
        with suppress(ThreadBusy, WrongGraph):
            await stores.schedules.fire(tick.read, tick.moved, tick.run)

    assert {"busy", "other", "known"} <= {tick.read.schedule_id for tick in left}
    found = {run.request.schedule_id: run for run in await stores.runs.find(TENANT, {}, None, 20)}
    assert found.keys() - {""} == {"plain", "known", "wrong"}
    assert found["known"].run_id == "run_2"
    assert [run.request.schedule_id for run in await stores.runs.find("two", {}, None, 9)] == ["same"]
    for name, schedule in read.items():
        after = await stores.schedules.get(schedule.tenant, name)
        has_moved = after.progress.next_tick == moved(schedule).progress.next_tick
        assert has_moved == (name not in ("busy", "other", "changed"))


async def test_many_ticks_take_a_few_statements(sql_stores: SqlStores) -> None:
    """Of one tenant or of several; runs beyond what a tenant may have pending are left."""
    for number in range(60):
        await added(sql_stores, f"s{number}", tenant=f"tenant_{number % 3}")
    read = await claimed(sql_stores, 100)
    ticks = [Tick(schedule, moved(schedule), run_of(schedule, n), Due(1, None)) for n, schedule in enumerate(read)]
    statements: list[str] = []
    schedules = SqlSchedules(sql_stores.database, SqlRuns(sql_stores.database, max_pending=15))
    with engine_events(statements.append):
        left = await schedules.fire_all(ticks)
    assert (len(ticks), len(left)) == (60, 15)
    assert len(statements) <= 12
    assert len(await sql_stores.claimed(100)) == 45
    assert await schedules.fire_all(ticks[:3]) == []
