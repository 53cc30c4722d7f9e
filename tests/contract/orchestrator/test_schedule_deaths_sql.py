"""Each tick has exactly one run, whichever workers die, and wherever they do."""

import asyncio
import os
import sys
import time
from pathlib import Path

import sqlalchemy as sa
from graphmesh_orchestrator.db.tables import runs

from tests.contract.orchestrator.stores import SqlStores, open_sql_stores
from tests.contract.orchestrator.ticking_process import TENANT, a_schedule, end_claims, ticker_over

ROOT = Path(__file__).parents[3]
SCHEDULES, LATE_TICKS = 5, 20


async def let_workers_die(mode: str, url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = (sys.executable, "-m", "tests.contract.orchestrator.ticking_process", mode, url)
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT)
    assert await process.wait() == 0


async def assert_one_run_for_each_tick(stores: SqlStores) -> int:
    """Let a last worker create the runs of what is due. Returns the number of ticks, none of which lacks its run."""
    await end_claims(stores.url)
    await ticker_over(stores.database).poll()
    query = sa.select(runs.c.schedule_id, runs.c.due).order_by(runs.c.schedule_id, runs.c.due)
    rows = await stores.database.rows(query)
    count = 0
    for schedule in await stores.schedules.find(TENANT, {}, None, 1000):
        ticks = [int(row.due) for row in rows if row.schedule_id == schedule.schedule_id]
        timing, last = schedule.spec.timing, int(schedule.progress.last_tick)
        assert ticks == list(range(timing.start, last + 1, timing.interval)), schedule.schedule_id
        assert schedule.progress.run_count == len(ticks)
        assert schedule.progress.last_error is None
        count += len(ticks)
    return count


async def test_one_run_a_tick_after_death_between_any_two_statements(sql_url: str, defer_seconds: float) -> None:
    await let_workers_die("statements", sql_url)
    async with open_sql_stores(sql_url, defer_seconds) as stores:
        assert await assert_one_run_for_each_tick(stores) > 10


async def test_one_run_a_tick_while_workers_are_killed(postgres_url: str, defer_seconds: float) -> None:
    """Two workers at a time, of which one is killed six times; both may believe to have claimed a schedule."""
    async with open_sql_stores(postgres_url, defer_seconds) as stores:
        begin = int(time.time()) - LATE_TICKS
        for number in range(SCHEDULES):
            await stores.schedules.create(a_schedule(number, begin, 1))
        await let_workers_die("signals", postgres_url)
        assert await assert_one_run_for_each_tick(stores) >= SCHEDULES * LATE_TICKS
