"""A worker that was paused past its lease claims its own run again, before it detects that it has lost it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import Database, open_database
from graphmesh_nodes.context import Policies
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases.in_flight import InFlight, Worker
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.store.items_sql import SqlStore
from graphmesh_orchestrator.store.memory import Memory
from graphmesh_orchestrator.worker.executor import Bounds, Executor, Tools
from graphmesh_orchestrator.worker.node_threads import NodeThreads
from graphmesh_orchestrator.worker.run_spans import RunSpans
from graphmesh_orchestrator.worker.suspension import Suspension

from tests.acceptance.local_mesh import write_locked
from tests.contract.runs import a_run

WORKER = Worker()
RUN = a_run(subject="local", thread_id="th_1", graph="hanging", input={"invoice_id": "INV-1", "amount": 1})


@asynccontextmanager
async def executing(database: Database, folder: Path) -> AsyncIterator[tuple[Executor, InFlight]]:
    """An executor of hanging runs, without claiming and heartbeat."""
    path, in_flight = folder / "langgraph.json", InFlight(WORKER)
    path.write_text(json.dumps({"graphs": {"hanging": f"{Path(__file__).with_name('graphs.py')}:hanging"}}))
    async with (
        GroupCommit(SqlBatchWriter(database)).running() as commits,
        Channel("127.0.0.1:1") as unreachable,
        loaded_graphs(path, LogSaver(database, commits)) as registry,
    ):
        saver = LogSaver(database, commits)
        executor = Executor(
            in_flight,
            registry,
            Tools(unreachable, Policies()),
            commits,
            Suspension(SqlInterrupts(database), SqlRuns(database), saver),
            Memory(SqlStore(database)),
            SqlLeases(database, WORKER.name),
            Notifier(is_alone=True),
            NodeThreads(),
            thread_freed=lambda: None,
            spans=RunSpans(SqlRuns(database), SqlInterrupts(database), WORKER.name, 0, lambda run, trace: None),
            bounds=Bounds(stop_seconds=0.1, store_seconds=0.1),
        )
        yield executor, in_flight
        await executor.drain(0)


async def begun(database: Database, executor: Executor) -> Run:
    """The run, executed by the worker that has stored it."""
    run = await SqlRuns(database).add(RUN, WORKER.name)
    executor.begin(run, time.monotonic())
    return run


async def claimed_again(database: Database) -> Run:
    """The run, claimed after its lease has expired; meanwhile writes of its execution renew the lease."""
    claimed: Sequence[Run] = ()
    while not claimed:
        async with database.transaction() as connection:
            await connection.execute(sa.update(runs).values(lease_expires=0))
        claimed = await SqlLeases(database, WORKER.name).claim([("hanging", 1)], 1)
    return claimed[0]


def executions() -> int:
    """The number of tasks that execute the run."""
    return sum(task.get_name() == f"run {RUN.run_id}" for task in asyncio.all_tasks())


async def test_shutdown_does_not_wait_for_an_unavailable_database(tmp_path: Path) -> None:
    """Runs that cannot be stored are left to their leases, and resume from their last checkpoints."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/runs.db", MIGRATIONS) as database:
        async with executing(database, tmp_path) as (executor, _):
            await begun(database, executor)
            with write_locked(tmp_path / "runs.db"):
                async with asyncio.timeout(30):
                    await executor.drain(0)
        assert (await SqlRuns(database).get("acme", RUN.run_id)).status.is_active


async def test_loss_of_a_past_epoch_does_not_stop_the_current_one(tmp_path: Path) -> None:
    """The execution of the new epoch continues and is held, also when the loss of the old one is detected late."""
    async with (
        open_database(f"sqlite+aiosqlite:///{tmp_path}/runs.db", MIGRATIONS) as database,
        executing(database, tmp_path) as (executor, in_flight),
    ):
        first = await begun(database, executor)
        again = await claimed_again(database)
        executor.begin(again, time.monotonic())
        assert executions() == 2
        in_flight.lost(first.run_id, first.state.epoch)
        async with asyncio.timeout(60):
            while executions() == 2:
                await asyncio.sleep(0.02)
        assert in_flight.held == {again.run_id: 2}
        assert executions() == 1
