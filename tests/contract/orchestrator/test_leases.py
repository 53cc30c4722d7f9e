"""Leases and fencing, on SQLite and PostgreSQL (C1, C2; design invariant 4)."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import Fenced
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.db.tables import CLAIMABLE, HELD, WAITING, runs
from graphmesh_orchestrator.leases import claiming, heartbeat
from graphmesh_orchestrator.leases.heartbeat import Heartbeat, Worker
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Event, EventKind, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.journal import progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_run(number: int = 1, tenant: str = "acme") -> Run:
    created = NOW + timedelta(seconds=number)
    return Run(f"run_{number}", tenant, "local", f"th_{number}", "pay", {}, created, created + timedelta(hours=1), 25)


def happened(seq: int) -> Event:
    return Event(seq, NOW, EventKind.CUSTOM, "", {"seq": seq})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, MIGRATIONS) as database:
        yield database


@pytest_asyncio.fixture
async def commits(database: Database) -> AsyncIterator[GroupCommit]:
    async with GroupCommit(database).running() as commits:
        yield commits


def nothing_lost(run_id: str, epoch: int) -> None:
    pytest.fail(f"nobody has taken {run_id} of epoch {epoch}")


def no_cancellation(run_id: str, reason: str) -> None:
    pytest.fail(f"nobody asked for {run_id} to be cancelled")


async def expiry(database: Database, run: Run) -> float:
    """When the run's lease ends."""
    async with database.read() as connection:
        query = sa.select(runs.c.lease_expires).where(runs.c.run_id == run.run_id)
        return float((await connection.execute(query)).scalar_one())


async def expire(database: Database) -> None:
    """Let all leases run out."""
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(lease_expires=runs.c.lease_expires - LEASE_SECONDS - 1))


async def held_by(database: Database, worker: str, run: Run | None = None) -> Run:
    """A stored run that `worker` has claimed."""
    await SqlRuns(database).add(run or a_run(), worker="")
    [claimed] = await SqlLeases(database, worker).claim([("pay", 1)], 1)
    return claimed


async def test_workers_that_claim_at_once_get_different_runs(database: Database) -> None:
    """Every run is somebody's, none is two workers', whoever is faster."""
    for number in range(30):
        await SqlRuns(database).add(a_run(number), worker="")
    claimed = await asyncio.gather(*(SqlLeases(database, f"w{n}").claim([("pay", 1)], 4) for n in range(10)))
    names = [run.run_id for runs in claimed for run in runs]
    assert (len(names), len(set(names))) == (30, 30)
    assert max(len(runs) for runs in claimed) <= 4


async def test_the_oldest_is_claimed_first(database: Database) -> None:
    for number in (3, 1, 2):
        await SqlRuns(database).add(a_run(number), worker="")
    assert {run.run_id for run in await SqlLeases(database, "w").claim([("pay", 1)], 2)} == {"run_1", "run_2"}


async def test_tenants_take_turns(database: Database) -> None:
    """Whoever has a thousand runs waiting does not make another's wait; what is left over is theirs."""
    for number in range(1000):
        await SqlRuns(database).add(a_run(number, "busy"), worker="")
    for number in (1000, 1001):
        await SqlRuns(database).add(a_run(number, "quiet"), worker="")
    claimed = await SqlLeases(database, "w").claim([("pay", 1)], 10)
    oldest = {f"run_{number}" for number in range(8)}
    assert {run.run_id for run in claimed} == {*oldest, "run_1000", "run_1001"}


async def test_what_a_tenant_has_under_way_counts(database: Database) -> None:
    """Where one place at a time is free, the tenant that has most of them is not first again for being older."""
    for number in range(3):
        await SqlRuns(database).add(a_run(number, "busy"), worker="")
    await SqlRuns(database).add(a_run(3, "quiet"), worker="")
    claimed = [await SqlLeases(database, "w").claim([("pay", 1)], 1) for _ in range(4)]
    assert [run.run_id for [run] in claimed] == ["run_0", "run_3", "run_1", "run_2"]


@pytest.mark.parametrize(
    ("condition", "index"), [(CLAIMABLE, "runs_claimable"), (HELD, "runs_by_owner"), (WAITING, "runs_waiting")]
)
async def test_looks_for_work_read_no_run_that_has_ended(
    database: Database, condition: sa.ColumnElement[bool], index: str
) -> None:
    """The databases see that the conditions of statements are those of the partial indexes, however many runs ended."""
    query = sa.select(runs.c.run_id).where(condition)
    async with database.transaction() as connection:
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        if not database.is_sqlite:
            await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        statement = query.compile(dialect=connection.dialect)
        assert not statement.params
        plan = (await connection.execute(sa.text(f"{explain} {statement}"))).all()
    assert index in str(plan)


async def test_a_dead_workers_runs_are_free_at_once(database: Database) -> None:
    """Nobody waits for its leases; another's stay its own."""
    first = await held_by(database, "one")
    await held_by(database, "two", a_run(2))
    [again] = await SqlLeases(database, "three").claim([("pay", 1)], 5, dead=["one"])
    assert (again.run_id, again.epoch) == (first.run_id, first.epoch + 1)


async def test_a_worker_claims_only_graphs_that_it_serves(database: Database) -> None:
    await SqlRuns(database).add(a_run(), worker="")
    assert await SqlLeases(database, "w").claim([("other", 1)], 5) == []


async def test_a_held_run_is_nobody_elses_until_its_lease_is_over(database: Database) -> None:
    """Then the next worker gets it, in a new epoch."""
    first = await held_by(database, "one")
    assert await SqlLeases(database, "two").claim([("pay", 1)], 1) == []
    await expire(database)
    [second] = await SqlLeases(database, "two").claim([("pay", 1)], 1)
    assert (second.run_id, second.epoch) == (first.run_id, first.epoch + 1)


async def test_a_run_that_is_stored_by_a_worker_is_its_own(database: Database) -> None:
    """There is no moment at which another could take it."""
    await SqlRuns(database).add(a_run(), worker="one")
    assert await SqlLeases(database, "two").claim([("pay", 1)], 1) == []
    assert await SqlLeases(database, "one").renew({"run_1": 1}) == {"run_1": ""}


async def test_whoever_was_replaced_writes_nothing_and_learns_so(database: Database, commits: GroupCommit) -> None:
    """Neither events nor the run's status of an epoch that is over are stored; the new owner's are."""
    stored = SqlRuns(database)
    old = await held_by(database, "one")
    await commits.store(progress(replace(old, last_seq=1), [happened(1)]))
    await expire(database)
    [new] = await SqlLeases(database, "two").claim([("pay", 1)], 1)
    with pytest.raises(Fenced):
        await commits.store(progress(replace(old, last_seq=2, status=RunStatus.SUCCESS), [happened(2)]))
    assert await stored.events("run_1", 0, 10) == [happened(1)]
    assert (await stored.get("acme", "run_1")).status is RunStatus.RUNNING
    await commits.store(progress(replace(new, last_seq=2), [happened(2)]))
    assert [event.seq for event in await stored.events("run_1", 0, 10)] == [1, 2]


async def test_a_lease_that_is_anothers_is_not_renewed(database: Database) -> None:
    """The worker is told which of its runs it still has."""
    old = await held_by(database, "one")
    mine = await held_by(database, "one", a_run(2))
    held = {old.run_id: old.epoch - 1, mine.run_id: mine.epoch}
    assert await SqlLeases(database, "one").renew(held) == {mine.run_id: ""}


async def test_a_lease_is_renewed_when_it_ages(database: Database) -> None:
    """Most are by what the runs write; a heartbeat that follows writes nothing, and still knows what is held."""
    run, leases = await held_by(database, "one"), SqlLeases(database, "one")
    held, claimed = {run.run_id: run.epoch}, await expiry(database, run)
    assert await leases.renew(held) == {run.run_id: ""}
    assert await expiry(database, run) == claimed
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(lease_expires=claimed - LEASE_SECONDS / 2))
    assert await leases.renew(held) == {run.run_id: ""}
    assert await expiry(database, run) >= claimed


async def test_a_run_that_has_just_ended_is_not_lost(database: Database, commits: GroupCommit) -> None:
    """Nor is it to be ended, though somebody has asked for that. Its lease is left as it is."""
    run, leases = await held_by(database, "one"), SqlLeases(database, "one")
    await SqlRuns(database).ask_to_cancel(run.tenant, run.run_id, "too late")
    assert await leases.renew({run.run_id: run.epoch}) == {run.run_id: "too late"}
    await commits.store(progress(replace(run, last_seq=1, status=RunStatus.SUCCESS), [happened(1)]))
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(lease_expires=1))
    assert await leases.renew({run.run_id: run.epoch}) == {run.run_id: ""}
    assert await expiry(database, run) == 1


async def test_a_released_run_is_free_at_once(database: Database) -> None:
    """A worker that drains makes nobody wait for its leases."""
    run = await held_by(database, "one")
    await SqlLeases(database, "one").release({run.run_id: run.epoch})
    assert [again.epoch for again in await SqlLeases(database, "two").claim([("pay", 1)], 1)] == [run.epoch + 1]


async def test_a_batch_whose_commit_was_not_heard_of_can_come_again(database: Database, commits: GroupCommit) -> None:
    """The same events once more change nothing."""
    stored, run = SqlRuns(database), await held_by(database, "one")
    for _ in range(2):
        await commits.store(progress(replace(run, last_seq=1), [happened(1)]))
    assert await stored.events("run_1", 0, 10) == [happened(1)]


async def test_a_blocked_event_loop_keeps_its_leases(database: Database, url: str) -> None:
    """The heartbeat has a thread of its own: a node that computes for longer than a lease loses nothing."""
    run = await held_by(database, "one")
    held = {run.run_id: run.epoch}
    async with Heartbeat(lambda: open_database(url), Worker("one"), lambda: held, nothing_lost, no_cancellation):
        threading.Event().wait(LEASE_SECONDS + 1)
        assert await SqlLeases(database, "two").claim([("pay", 1)], 1) == []


async def test_a_worker_hears_of_a_lost_lease(database: Database, url: str) -> None:
    """The heartbeat names the run that another worker has taken, and the epoch that is over."""
    run = await held_by(database, "one")
    await expire(database)
    await SqlLeases(database, "two").claim([("pay", 1)], 1)
    lost: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    async with (
        Heartbeat(
            lambda: open_database(url),
            Worker("one"),
            lambda: {run.run_id: run.epoch},
            lambda *epoch: lost.put_nowait(epoch),
            no_cancellation,
        ),
        asyncio.timeout(10),
    ):
        assert await lost.get() == (run.run_id, run.epoch)


async def test_a_worker_that_is_told_looks_at_once(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs to claim and runs to cancel are not found by looking again and again (D7)."""
    monkeypatch.setattr(claiming, "CLAIM_SECONDS", 3600)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 3600)
    begun: asyncio.Queue[Run] = asyncio.Queue()
    cancelled: asyncio.Queue[str] = asyncio.Queue()
    held: dict[str, int] = {}

    def begin(run: Run) -> None:
        held[run.run_id] = run.epoch
        begun.put_nowait(run)

    claimer = claiming.Claiming(SqlLeases(database, "one"), [("pay", 1)], lambda: 1)
    beating = Heartbeat(
        lambda: open_database(url),
        Worker("one"),
        lambda: held,
        nothing_lost,
        lambda run_id, _: cancelled.put_nowait(run_id),
    )
    await SqlRuns(database).add(a_run(1), worker="")
    task = asyncio.create_task(claimer.run(begin))
    async with beating, asyncio.timeout(30):
        assert (await begun.get()).run_id == "run_1"
        await SqlRuns(database).add(a_run(2), worker="")
        claimer.look()
        assert (await begun.get()).run_id == "run_2"
        await SqlRuns(database).ask_to_cancel("acme", "run_2", "enough")
        beating.look("run_2")
        assert await cancelled.get() == "run_2"
    task.cancel()


async def test_a_process_with_a_database_of_its_own_inherits_at_once(database: Database) -> None:
    """On SQLite nobody else can be alive: a restart does not wait for the lease. On PostgreSQL others may be."""
    await held_by(database, "one")
    two = SqlLeases(database, "two")
    await two.inherit()
    assert len(await two.claim([("pay", 1)], 1)) == (1 if database.is_sqlite else 0)
