"""Graphs in a worker of their own, with a memory limit: what they do to it concerns no other graph."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.rpc.error_details_pb2 import ErrorInfo
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_client import Client

from tests.integration.orchestrator.test_stubborn_process import address_in

GRAPHS = Path(__file__).with_name("memory_graphs.py")
MEMORY = 2 * 1024**3
MAX_TAKEOVERS = 1
TIMEOUT = 200


@asynccontextmanager
async def orchestrator(folder: Path, name: str, url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {graph: f"{GRAPHS}:{graph}" for graph in ("bomb", "quiet")}}))
    with (folder / name).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "graphmesh_orchestrator", "--listen=127.0.0.1:0"),
            *(f"--graphs={graphs}", f"--max-takeovers={MAX_TAKEOVERS}", *arguments),
            env={**os.environ, "GRAPHMESH_ORCHESTRATOR_DATABASE_URL": url},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def keep_running(folder: Path, url: str, deaths: list[int]) -> None:
    """Run the worker of the bomb, again and again, as a supervisor does."""
    while True:
        async with orchestrator(
            folder, f"worker_{len(deaths)}", url, "--role=worker", '--executes=["bomb"]', f"--memory-bytes={MEMORY}"
        ) as worker:
            deaths.append(await worker.wait())


async def test_graph_without_memory_ends_its_own_worker_alone(tmp_path: Path, postgres_url: str) -> None:
    deaths = list[int]()
    async with orchestrator(tmp_path, "main", postgres_url, '--executes=["quiet"]') as main:
        address = await address_in(tmp_path / "main")
        supervisor = asyncio.create_task(keep_running(tmp_path, postgres_url, deaths))
        async with Client(address, tenant="hostile") as hostile, Client(address, tenant="other") as other:
            bomb = await hostile.create_run("bomb", {"way": "raises"})
            assert reason(await hostile.wait_run(bomb.run_id, timeout=TIMEOUT)) == "NODE_FAILED"
            bomb = await hostile.create_run("bomb", {"way": "dies"})
            quiet = [await other.create_run("quiet", {}) for _ in range(20)]
            for run in quiet:
                ended = await other.wait_run(run.run_id, timeout=TIMEOUT)
                assert ended.status == RunStatus.RUN_STATUS_SUCCESS
            assert reason(await hostile.wait_run(bomb.run_id, timeout=TIMEOUT)) == "RUN_POISONED"
            assert (main.returncode, deaths) == (None, [-signal.SIGKILL] * (MAX_TAKEOVERS + 1))
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)


def reason(run: Run) -> str:
    info = ErrorInfo()
    return next(str(info.reason) for detail in run.error.details if detail.Unpack(info))
