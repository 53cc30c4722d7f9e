"""What hostile queries take from the service: nothing that others need, and nothing that is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from graphmesh.sql import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded, GraphmeshError
from graphmesh_chassis.testing import running
from graphmesh_contracts import Overrides
from graphmesh_local.child_process import reserve_port
from graphmesh_sql.__main__ import build
from graphmesh_sql.errors import QueryFailed, QueryRefused
from graphmesh_sql.settings import Settings

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
LONG = 200.0
"""Seconds that no query of a test takes on any machine."""
STUCK = "SELECT printf('%.*c', 2000000000, 'x')"
"""A call of a function that checks no limit for half a minute."""
WIDE = "SELECT " + ", ".join(["hex(zeroblob(450000))"] * 100)
SPILLING = NUMBERS + "SELECT DISTINCT i, printf('%.*c', 1000, 'x') FROM n LIMIT -1 OFFSET 100000000"
MEGABYTES = 1024 * 1024
MAX_MEMORY = 512 * MEGABYTES
MAX_THREADS = 16
"""Those of gRPC and of the event loop, whatever the number of queries."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    policy = Overrides(methods={"RunQuery": {"timeout": f"{LONG:.0f}s"}})
    return Settings(sample=str(tmp_path / "sample.db"), temp_bytes=16 * MEGABYTES, policy=policy)


@pytest_asyncio.fixture
async def channel(settings: Settings) -> AsyncIterator[Channel]:
    async with build(settings) as servable, running(servable, settings) as server:
        yield server.channel
    assert workers_of(os.getpid()) == []


def workers_of(pid: int) -> list[psutil.Process]:
    return [process for process in psutil.Process(pid).children() if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "graphmesh_sql.worker" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


async def rows_of(channel: Channel, query: str, *, tenant: str = "acme", seconds: float = 60.0) -> int:
    request = pb.RunQueryRequest(query=query, max_rows=1)
    headers = [("x-graphmesh-tenant", tenant)]
    stream = channel.stream(pb.SqlService.RunQuery, request, deadline=Deadline.after(seconds), headers=headers)
    return sum([len(part.rows.rows) async for part in stream])


async def refusal(channel: Channel, query: str, seconds: float = 60.0) -> GraphmeshError | None:
    try:
        await rows_of(channel, query, seconds=seconds)
    except GraphmeshError as error:
        return error
    return None


async def test_a_call_that_checks_no_limit_is_killed_at_its_deadline(channel: Channel) -> None:
    """Sixteen at once, twice as many as may run: later queries do not wait for what they would have taken."""
    began = time.monotonic()
    ends = await asyncio.gather(*(refusal(channel, STUCK, seconds=1.0) for _ in range(16)))
    assert all(isinstance(end, GraphmeshError) for end in ends)
    assert any(isinstance(end, DeadlineExceeded) for end in ends)
    assert await rows_of(channel, "SELECT 1") == 1
    assert time.monotonic() - began < 25
    assert {threads for process in workers_of(os.getpid()) if (threads := _threads(process))} <= {1}


async def test_memory_of_a_query_is_bounded(channel: Channel) -> None:
    """A hundred columns of 0.9 MB in one row, eight times at once: all are refused."""
    peak = 0
    queries = asyncio.gather(*(refusal(channel, WIDE) for _ in range(8)))
    while not queries.done():
        for process in workers_of(os.getpid()):
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.01)
    assert {type(error) for error in await queries} == {QueryFailed}
    assert 0 < peak < 64 * MEGABYTES


async def test_memory_of_a_row_is_bounded_outside_of_the_database_too(channel: Channel) -> None:
    """One wide character takes four bytes for each of a text in Python, of which SQLite's own limit knows nothing."""
    error = await refusal(channel, "SELECT " + ", ".join(["printf('%.*c', 900000, 'a') || '😀'"] * 6))
    assert isinstance(error, QueryFailed)
    assert "more memory" in str(error)


async def test_temporary_space_of_a_query_is_bounded(channel: Channel) -> None:
    error = await refusal(channel, SPILLING)
    assert isinstance(error, QueryFailed)
    assert "temporary space" in str(error)


async def test_queries_of_another_tenant_are_answered_meanwhile(channel: Channel) -> None:
    """While one tenant sends far more stuck queries than may run, and holds its place in the queue."""
    storm = [asyncio.create_task(refusal(channel, STUCK, seconds=LONG)) for _ in range(24)]
    answers = [await rows_of(channel, "SELECT 1", tenant="globex") for _ in range(4)]
    assert answers == [1] * 4
    assert not any(task.done() for task in storm)
    for task in storm:
        task.cancel()
    await asyncio.gather(*storm, return_exceptions=True)


async def test_cancelled_query_leaves_no_process_at_work(channel: Channel) -> None:
    query = asyncio.create_task(refusal(channel, STUCK, seconds=LONG))
    busy: list[psutil.Process] = []
    while not busy:
        await asyncio.sleep(0.01)
        busy = [worker for worker in workers_of(os.getpid()) if _cpu_seconds(worker) > 0.3]
    query.cancel()
    await asyncio.gather(query, return_exceptions=True)
    gone, alive = await asyncio.to_thread(psutil.wait_procs, busy, 60)
    assert (len(gone), alive) == (1, [])


def _threads(process: psutil.Process) -> int:
    try:
        return process.num_threads()
    except psutil.Error:  # it has just ended
        return 0


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        return float(process.cpu_times().user)
    except psutil.Error:
        return 0.0


async def test_a_refused_query_costs_no_process(channel: Channel) -> None:
    """The process of a query that breaks a rule, or fails, is that of the next one."""
    await rows_of(channel, "SELECT 1")
    before = {worker.pid for worker in workers_of(os.getpid())}
    for query, expected in (("SELECT * FROM sqlite_master", QueryRefused), ("SELECT x", QueryFailed)) * 5:
        assert isinstance(await refusal(channel, query), expected)
    assert {worker.pid for worker in workers_of(os.getpid())} == before


@pytest.fixture
def port() -> int:
    return reserve_port()


@pytest.fixture
def server(settings: Settings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["--sample", settings.sample, "--listen", f"127.0.0.1:{port}", "--drain-seconds", "0.5"]
    with subprocess.Popen(
        [sys.executable, "-m", "graphmesh_sql", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
async def test_no_query_outlives_the_service(server: subprocess.Popen[bytes], port: int, stop: signal.Signals) -> None:
    """It stops within its drain while stuck queries run, and its death ends them too."""
    async with Channel(f"127.0.0.1:{port}") as channel:
        while isinstance(await refusal(channel, "SELECT 1"), GraphmeshError):
            assert server.poll() is None
            await asyncio.sleep(0.05)
        stuck = [asyncio.create_task(refusal(channel, STUCK, seconds=25)) for _ in range(2)]
        workers: list[psutil.Process] = []
        while sum(_cpu_seconds(worker) > 0.1 for worker in workers) < 2:
            workers = workers_of(server.pid)
            await asyncio.sleep(0.02)
        service = psutil.Process(server.pid)
        assert service.num_threads() < MAX_THREADS
        assert sum(each.memory_info().rss for each in (service, *workers)) < MAX_MEMORY
        server.send_signal(stop)
        _, alive = await asyncio.to_thread(psutil.wait_procs, [service, *workers], 60)
        assert alive == []
        await asyncio.gather(*stuck)
