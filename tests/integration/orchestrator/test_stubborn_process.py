"""A process whose nodes ignore that they are cancelled ends their runs, serves other tenants, and stops."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_client import Client

from tests.acceptance.local_mesh import wait_for_node

GRAPH = Path(__file__).with_name("stubborn_graph.py")


@dataclass
class Orchestrator:
    process: asyncio.subprocess.Process
    address: str


@asynccontextmanager
async def orchestrator(folder: Path) -> AsyncIterator[Orchestrator]:
    """An orchestrator with the graph, whose log is left in the folder."""
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"stubborn": f"{GRAPH}:stubborn"}}))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "graphmesh_orchestrator", "--listen=127.0.0.1:0", "--drain-seconds=1"),
            *(f"--database-url=sqlite+aiosqlite:///{folder}/runs.db", f"--graphs={graphs}", "--stop-seconds=0.5"),
            env=dict(os.environ),
            stdout=log,
            stderr=log,
        )
    try:
        yield Orchestrator(process, await address_in(folder / "log"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def address_in(log: Path) -> str:
    async with asyncio.timeout(60):
        while True:
            for line in log.read_text().splitlines():
                if '"address"' in line:
                    return str(json.loads(line)["address"])
            await asyncio.sleep(0.02)


async def test_runs_end_and_the_process_stops(tmp_path: Path) -> None:
    """Two runs are cancelled, two are cut off when the process drains."""
    async with (
        orchestrator(tmp_path) as server,
        Client(server.address, tenant="hostile") as hostile,
        Client(server.address, tenant="quiet") as quiet,
    ):
        runs = [await hostile.create_run("stubborn", {"way": way}) for way in ("task", "thread") * 2]
        for run, node in zip(runs, ("task", "thread") * 2, strict=True):
            await wait_for_node(hostile, run.run_id, node)
        for run in runs[:2]:
            await hostile.cancel_run(run.run_id, "not wanted any more")
            ended = await hostile.wait_run(run.run_id, timeout=60)
            assert ended.status == RunStatus.RUN_STATUS_CANCELLED
        other = await quiet.create_run("stubborn", {"way": "none"})
        assert (await quiet.wait_run(other.run_id, timeout=60)).status == RunStatus.RUN_STATUS_SUCCESS
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), 60) == 0
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    abandoned = [entry["nodes"] for entry in entries if entry["event"] == "execution abandoned"]
    assert sorted(abandoned) == [["task"]] * 2 + [["thread"]] * 2
