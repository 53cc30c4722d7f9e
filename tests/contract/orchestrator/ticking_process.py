"""Workers that die at ticks: `python -m tests.contract.orchestrator.ticking_process statements|signals <url>`.

`statements`: for every number, a child has a schedule of its own, whose tick is due, and exits, as by SIGKILL, before
the statement or the commit of that number. The last child completes.

`signals`: two children at a time create the runs of whatever is due. One of them is killed again and again, and another
one begins; all claims are ended then, so that living workers lose theirs too.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import sqlalchemy as sa
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.assistants.assistants import MemoryAssistants
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.schedules.schedule import CatchUp, Progress, Schedule, Spec
from graphmesh_orchestrator.schedules.schedules_sql import SqlSchedules
from graphmesh_orchestrator.schedules.tables import schedules
from graphmesh_orchestrator.schedules.ticker import Ticker
from graphmesh_orchestrator.schedules.timing import Timing
from graphmesh_orchestrator.webhooks.delivery import HostPatterns
from graphmesh_orchestrator.webhooks.receivers import Receivers
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.contract.databases import engine_events

GRAPH, TENANT = "pay", "acme"
KILLS = 6


class State(TypedDict):
    text: str


def registry() -> Registry:
    builder = StateGraph(State)
    builder.add_node("node", lambda state: state)
    builder.add_edge(START, "node")
    return Registry({GRAPH: Graph.of(GRAPH, builder.compile())})


def ticker_over(database: Database) -> Ticker:
    """Return the background task of a worker."""
    graphs = registry()
    requests = RunRequests(graphs, MemoryAssistants(), Receivers(HostPatterns([]), b""))
    store = SqlSchedules(database, SqlRuns(database))
    return Ticker(store, requests, graphs.names, lambda: None, PollTimer(Notifier(is_alone=True)))


def a_schedule(number: int, tick: int, interval: int) -> Schedule:
    """Return a schedule whose next tick is at `tick`."""
    request = pb.CreateRunRequest(graph=GRAPH)
    request.input.update({"text": "x"})
    timing = Timing("", "", interval, tick, 0)
    spec = Spec(request.SerializeToString(), GRAPH, "", timing, CatchUp.ALL, 600)
    now = datetime.now(UTC)
    return Schedule(TENANT, f"s{number}", f"uid{number}", "ana", spec, now, now, progress=Progress(next_tick=tick))


def exit_at(number: int) -> Callable[..., None]:
    """Return a function that ends the process when it is called for the given time."""
    calls = count(1)

    def count_call(*_: object) -> None:
        if next(calls) == number:
            os._exit(9)

    return count_call


async def die_at(url: str, number: int) -> None:
    async with open_database(url) as database:
        schedule = a_schedule(number, int(time.time()), 3600)
        await SqlSchedules(database, SqlRuns(database)).create(schedule)
        count_call = exit_at(number)
        with engine_events(count_call, count_call):
            await ticker_over(database).poll()


async def tick(url: str) -> None:
    """Create runs until killed."""
    async with open_database(url) as database:
        ticker = ticker_over(database)
        while True:
            await ticker.poll()
            await asyncio.sleep(0.05)


async def end_claims(url: str) -> None:
    async with open_database(url) as database, database.transaction() as connection:
        await connection.execute(sa.update(schedules).values(claimed_until=0))


def child(body: Any) -> int:
    """Fork a process that executes a coroutine, and return its id."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(body)
        os._exit(0)
    body.close()
    return pid


def die_at_statements(url: str) -> None:
    for number in count(1):
        _, status = os.waitpid(child(die_at(url, number)), 0)
        if (code := os.waitstatus_to_exitcode(status)) == 0:
            return
        if code != 9:
            sys.exit(f"number {number}: the child exited with {code}")


def die_by_signals(url: str) -> None:
    workers, moments = [child(tick(url)) for _ in range(2)], random.Random(1)
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.1, 0.5))
        killed = workers.pop(0)
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        asyncio.run(end_claims(url))
        workers.append(child(tick(url)))
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


if __name__ == "__main__":
    mode, database_url = sys.argv[1:]
    {"statements": die_at_statements, "signals": die_by_signals}[mode](database_url)
