"""Settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh.orchestrator.v1 import RunService, add_RunServiceServicer_to_server
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run, tracing_of

from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.context import Policies
from graphmesh_orchestrator.executor import Executor
from graphmesh_orchestrator.graphs import Registry
from graphmesh_orchestrator.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.leases import Claiming, Heartbeat, Worker
from graphmesh_orchestrator.leases_sql import SqlLeases
from graphmesh_orchestrator.notices import Notices
from graphmesh_orchestrator.parking import Parking
from graphmesh_orchestrator.runs_sql import SqlRuns
from graphmesh_orchestrator.servicer import RunServicer
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.submission import Submission
from graphmesh_orchestrator.waiting import Admitting, SqlWaiting

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    tracing = tracing_of("orchestrator", settings)
    async with (
        open_database(settings.database_url, MIGRATIONS) as database,
        GroupCommit(database).running() as commits,
        Channel(settings.mesh, tracing) as channel,
    ):
        worker, notices, runs = Worker(), Notices(), SqlRuns(database)
        leases = SqlLeases(database, worker.name)
        await leases.inherit()
        saver, interrupts = LogSaver(database, commits), SqlInterrupts(database)
        graphs, policies = Registry.load(settings.graphs, saver), Policies(settings.tool_policies)
        parking = Parking(interrupts, runs, saver)
        claiming = Claiming(leases, graphs.names, lambda: executor.room)
        admitting = Admitting(SqlWaiting(database), claiming.look)
        executor = Executor(worker, runs, commits, leases, graphs, channel, policies, notices, parking, admitting.look)
        submission = Submission(graphs, executor, admitting.added)
        own_database = partial(open_database, settings.database_url)
        async with Heartbeat(own_database, worker, lambda: executor.held, executor.lost, executor.cancel):
            servicer = RunServicer(runs, interrupts, graphs, submission, executor, claiming, notices)
            yield Servable(
                services=[Service(RunService, add_RunServiceServicer_to_server, servicer)],
                pings={"database": database.ping},
                tasks={"claiming": lambda: claiming.run(executor.begin), "admitting": admitting.run},
                drain=lambda: executor.drain(settings.drain_seconds / 2),
                tracing=tracing,
            )
            await executor.drain(0)


def main() -> None:
    run("orchestrator", build, Settings)


if __name__ == "__main__":
    main()
