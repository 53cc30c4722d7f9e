"""Dead workers are detected before their leases expire, on PostgreSQL; on SQLite there is one process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chaos.tcp_proxy import tcp_proxy
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.leases.liveness import DEAD_SECONDS, LOCKS, DeadWorkerDetector, lock_key, worker_lock

from tests.contract.orchestrator.stores import SERVED, SqlStores, open_sql_stores
from tests.contract.runs import a_run

HOLDERS = sa.text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")


class ManualClock:
    """A clock whose time a test sets, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def shared(postgres_url: str) -> AsyncIterator[SqlStores]:
    """The stores over PostgreSQL, which several workers share."""
    async with open_sql_stores(postgres_url) as stores:
        yield stores


async def holds_a_run(stores: SqlStores, worker: str) -> None:
    await stores.begun(a_run(f"run_{worker}"), worker)


async def is_locked(database: Database, worker: str) -> bool:
    async with database.read() as connection:
        return lock_key(worker) in set((await connection.execute(LOCKS)).scalars())


async def until_unlocked(database: Database, worker: str) -> None:
    async with asyncio.timeout(60):
        while await is_locked(database, worker):
            await asyncio.sleep(0.02)


async def test_worker_without_its_lock_is_dead_at_the_second_poll(shared: SqlStores) -> None:
    """One poll is not enough: the worker may be acquiring its lock again. Workers with their locks are alive."""
    await holds_a_run(shared, "gone")
    await holds_a_run(shared, "alive")
    clock = ManualClock()
    detector = DeadWorkerDetector(shared.database, "me", clock)
    async with worker_lock(shared.url, "alive"):
        await detector.poll()
        assert detector.dead == frozenset()
        clock.seconds = DEAD_SECONDS - 0.01
        await detector.poll()
        assert detector.dead == frozenset()
        clock.seconds = DEAD_SECONDS
        await detector.poll()
        assert detector.dead == {"gone"}


async def test_worker_that_has_its_lock_again_is_alive(shared: SqlStores) -> None:
    """Its lock has to be missing in two more polls for it to be dead."""
    await holds_a_run(shared, "flaky")
    clock = ManualClock()
    detector = DeadWorkerDetector(shared.database, "me", clock)
    await detector.poll()
    async with worker_lock(shared.url, "flaky"):
        clock.seconds = 10
        await detector.poll()
    await until_unlocked(shared.database, "flaky")
    await detector.poll()
    assert detector.dead == frozenset()


async def test_worker_does_not_consider_itself_dead(shared: SqlStores) -> None:
    """It would claim its own runs where only the connection of its lock is broken."""
    await holds_a_run(shared, "me")
    clock = ManualClock()
    detector = DeadWorkerDetector(shared.database, "me", clock)
    for clock.seconds in (0, 10):
        await detector.poll()
    assert detector.dead == frozenset()


async def test_worker_that_holds_nothing_is_forgotten(shared: SqlStores) -> None:
    """Workers that ended long ago are not polled for."""
    await holds_a_run(shared, "gone")
    clock = ManualClock()
    detector = DeadWorkerDetector(shared.database, "me", clock)
    for clock.seconds in (0, 10):
        await detector.poll()
    assert len(await shared.leases("me").claim(SERVED, 1, detector.dead)) == 1
    await detector.poll()
    assert detector.dead == frozenset()


async def holders(database: Database) -> list[int]:
    """The PostgreSQL processes whose clients hold advisory locks."""
    async with database.read() as connection:
        return list((await connection.execute(HOLDERS)).scalars())


async def until_held_by_another(database: Database, broken: int) -> None:
    async with asyncio.timeout(60):
        while await holders(database) in ([], [broken]):
            await asyncio.sleep(0.02)


async def test_lock_is_acquired_again_when_its_connection_breaks(shared: SqlStores) -> None:
    """As after a restart of PostgreSQL, which releases all locks."""
    async with worker_lock(shared.url, "me"):
        [broken] = await holders(shared.database)
        async with shared.database.transaction() as connection:
            await connection.execute(sa.select(sa.func.pg_terminate_backend(broken)))
        await until_held_by_another(shared.database, broken)
        assert await is_locked(shared.database, "me")
    await until_unlocked(shared.database, "me")


async def test_lock_is_acquired_again_when_its_connection_is_half_dead(shared: SqlStores) -> None:
    """TCP does not detect that where something acknowledges its bytes. Pings that are answered break nothing."""
    direct = sa.make_url(shared.url)
    async with tcp_proxy(direct.host or "", direct.port or 5432) as proxy:
        url = direct.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with worker_lock(url, "me", ping_seconds=0.5):
            [broken] = await holders(shared.database)
            await until_pinged(shared.database, broken)
            assert await holders(shared.database) == [broken]
            proxy.lose_connections()
            proxy.heal()
            await until_held_by_another(shared.database, broken)


async def until_pinged(database: Database, holder: int) -> None:
    """Wait until the last statement of a connection is a ping."""
    statement = sa.text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
    async with asyncio.timeout(60):
        while True:
            async with database.read() as connection:
                query = (await connection.execute(statement, {"pid": holder})).scalar_one_or_none()
            if query == "SELECT 1":
                return
            await asyncio.sleep(0.02)


async def test_lock_is_acquired_while_a_broken_session_has_it(shared: SqlStores) -> None:
    """The server may notice late that the session before has broken; the worker does not wait for that."""
    async with worker_lock(shared.url, "me"):
        async with asyncio.timeout(60), worker_lock(shared.url, "me"):
            pass
        assert await is_locked(shared.database, "me")


async def test_detection_of_a_dead_worker_is_notified(shared: SqlStores) -> None:
    """Claiming is woken up, and need not poll itself."""
    await holds_a_run(shared, "gone")
    detected = asyncio.Event()
    task = asyncio.create_task(DeadWorkerDetector(shared.database, "me").run(detected.set))
    async with asyncio.timeout(60):
        await detected.wait()
    task.cancel()


async def test_no_worker_is_dead_on_sqlite(tmp_path: Path) -> None:
    """The database has one process, and nothing is locked."""
    url = f"sqlite+aiosqlite:///{tmp_path}/runs.db"
    async with open_sql_stores(url) as stores, worker_lock(url, "me"):
        await holds_a_run(stores, "gone")
        clock = ManualClock()
        detector = DeadWorkerDetector(stores.database, "me", clock)
        for clock.seconds in (0, 10):
            await detector.poll()
        assert detector.dead == frozenset()
