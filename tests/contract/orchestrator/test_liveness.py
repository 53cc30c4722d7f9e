"""Who is dead is known before its leases are over, on PostgreSQL (C1); on SQLite there is nobody else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.leases.liveness import LOCKS, SURE_SECONDS, Absences, lock_key, present
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns

NOW = datetime.now(UTC)


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with open_database(postgres_url, MIGRATIONS) as database:
        yield database


async def holds(database: Database, worker: str) -> None:
    """Let the worker hold a run."""
    run = Run(f"run_{worker}", "acme", "local", f"th_{worker}", "pay", {}, NOW, NOW + timedelta(hours=1), 25)
    await SqlRuns(database).add(run, worker="")
    await SqlLeases(database, worker).claim([("pay", 1)], 1)


async def locked(database: Database, worker: str) -> bool:
    async with database.read() as connection:
        return lock_key(worker) in set((await connection.execute(LOCKS)).scalars())


async def until_unlocked(database: Database, worker: str) -> None:
    async with asyncio.timeout(20):
        while await locked(database, worker):
            await asyncio.sleep(0.02)


async def test_a_worker_without_its_lock_is_dead_at_the_second_look(database: Database, postgres_url: str) -> None:
    """One look is not enough: it may be having its lock taken again. Those who have theirs are alive."""
    await holds(database, "gone")
    await holds(database, "alive")
    clock = Clock()
    absences = Absences(database, "me", clock)
    async with present(postgres_url, "alive"):
        await absences.look()
        assert absences.dead == frozenset()
        clock.seconds = SURE_SECONDS - 0.01
        await absences.look()
        assert absences.dead == frozenset()
        clock.seconds = SURE_SECONDS
        await absences.look()
        assert absences.dead == {"gone"}


async def test_a_worker_that_comes_back_between_two_looks_is_alive(database: Database, postgres_url: str) -> None:
    """It has to be missing twice more to be dead."""
    await holds(database, "flaky")
    clock = Clock()
    absences = Absences(database, "me", clock)
    await absences.look()
    async with present(postgres_url, "flaky"):
        clock.seconds = 10
        await absences.look()
    await until_unlocked(database, "flaky")
    await absences.look()
    assert absences.dead == frozenset()


async def test_a_worker_does_not_take_itself_for_dead(database: Database) -> None:
    """It would claim its own runs where its lock's connection alone is broken."""
    await holds(database, "me")
    clock = Clock()
    absences = Absences(database, "me", clock)
    for clock.seconds in (0, 10):
        await absences.look()
    assert absences.dead == frozenset()


async def test_who_holds_nothing_is_not_looked_for(database: Database) -> None:
    """Workers that ended long ago are forgotten."""
    await holds(database, "gone")
    clock = Clock()
    absences = Absences(database, "me", clock)
    for clock.seconds in (0, 10):
        await absences.look()
    assert len(await SqlLeases(database, "me").claim([("pay", 1)], 1, absences.dead)) == 1
    await absences.look()
    assert absences.dead == frozenset()


async def test_a_lock_whose_connection_breaks_is_taken_again(database: Database, postgres_url: str) -> None:
    """As after a restart of PostgreSQL, which takes all locks away."""
    holders = sa.text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    async with present(postgres_url, "me"), asyncio.timeout(20):
        async with database.transaction() as connection:
            [broken] = (await connection.execute(holders)).scalars()
            await connection.execute(sa.select(sa.func.pg_terminate_backend(broken)))
        again = [broken]
        while again in ([], [broken]):
            await asyncio.sleep(0.02)
            async with database.read() as connection:
                again = list((await connection.execute(holders)).scalars())
        assert await locked(database, "me")
    await until_unlocked(database, "me")


async def test_a_worker_has_its_lock_though_a_broken_session_has_it_too(database: Database, postgres_url: str) -> None:
    """The server may notice late that the session before has broken: nobody waits for that."""
    async with present(postgres_url, "me"):
        async with asyncio.timeout(10), present(postgres_url, "me"):
            pass
        assert await locked(database, "me")


async def test_noticed_deaths_are_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever claims is woken, and need not look itself."""
    await holds(database, "gone")
    noticed = asyncio.Event()
    task = asyncio.create_task(Absences(database, "me").run(noticed.set))
    async with asyncio.timeout(20):
        await noticed.wait()
    task.cancel()


async def test_nobody_is_missed_on_sqlite(tmp_path: Path) -> None:
    """The database is one process's own, and there is nothing to lock."""
    url = f"sqlite+aiosqlite:///{tmp_path}/runs.db"
    async with open_database(url, MIGRATIONS) as database, present(url, "me"):
        await holds(database, "gone")
        clock = Clock()
        absences = Absences(database, "me", clock)
        for clock.seconds in (0, 10):
            await absences.look()
        assert absences.dead == frozenset()
