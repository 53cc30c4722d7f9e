"""A worker that was paused past its lease claims its own run again, before it knows that it has lost it (C2)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import Database, open_database
from graphmesh_nodes.context import Policies
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.heartbeat import Worker
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.notifications.notifier import Notices
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker import executor as executors
from graphmesh_orchestrator.worker.executor import Executor
from graphmesh_orchestrator.worker.suspension import Parking

from tests.acceptance.shop import held

NOW = datetime.now(UTC)
WORKER = Worker()
RUN = Run(
    *("run_1", "acme", "local", "th_1", "slow", {"invoice_id": "INV-1", "amount": 1}),
    *(NOW, NOW + timedelta(hours=1)),
    recursion_limit=25,
)


@asynccontextmanager
async def executing(database: Database, folder: Path) -> AsyncIterator[Executor]:
    """An executor of slow runs, with nobody who claims or renews."""
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": {"slow": f"{Path(__file__).with_name('graphs.py')}:slow"}}))
    async with GroupCommit(database).running() as commits, Channel("127.0.0.1:1") as nowhere:
        saver, stored, leases = LogSaver(database, commits), SqlRuns(database), SqlLeases(database, WORKER.name)
        graphs, parking = Registry.load(registry, saver), Parking(SqlInterrupts(database), stored, saver)
        executor = Executor(
            *(WORKER, stored, commits, leases, graphs, nowhere, Policies(), Notices(), parking),
            thread_is_free=lambda: None,
        )
        yield executor
        await executor.drain(0)


async def claimed_again(database: Database) -> Run:
    """The run, after its lease has run out; what its execution writes meanwhile renews it."""
    claimed: list[Run] = []
    while not claimed:
        async with database.transaction() as connection:
            await connection.execute(sa.update(runs).values(lease_expires=0))
        claimed = await SqlLeases(database, WORKER.name).claim([("slow", 1)], 1)
    return claimed[0]


def executions() -> int:
    """How many tasks execute the run."""
    return sum(task.get_name() == f"run {RUN.run_id}" for task in asyncio.all_tasks())


async def test_a_process_that_is_to_stop_does_not_wait_for_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that cannot be stored are left to their leases, and go on from their last checkpoints."""
    monkeypatch.setattr(executors, "STORE_SECONDS", 0.1)
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/runs.db", MIGRATIONS) as database:
        async with executing(database, tmp_path) as executor:
            await executor.add(RUN)
            with held(tmp_path / "runs.db"):
                async with asyncio.timeout(30):
                    await executor.drain(0)
        assert (await SqlRuns(database).get("acme", RUN.run_id)).status.is_active


async def test_what_ends_is_the_epoch_that_is_over(tmp_path: Path) -> None:
    """The execution of the new epoch goes on and is held, whatever is still heard of the old one."""
    async with (
        open_database(f"sqlite+aiosqlite:///{tmp_path}/runs.db", MIGRATIONS) as database,
        executing(database, tmp_path) as executor,
    ):
        first = await executor.add(RUN)
        again = await claimed_again(database)
        executor.begin(again)
        assert executions() == 2
        executor.lost(first.run_id, first.epoch)
        async with asyncio.timeout(10):
            while executions() == 2:
                await asyncio.sleep(0.02)
        assert executor.held == {again.run_id: 2}
        assert executions() == 1
