"""Another tenant: it calls the edge steadily, and reports the errors and the times that it observes."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_local.server_programs import local_address

from graphmesh_chaos import attacks

ECHO = "echo"
"""The name of a graph that returns its input."""
ECHO_FILE = Path(__file__).parent / "graphs" / "echo.py"
TENANT = "watcher"
ROUNDS_PER_SECOND = 5.0


@dataclass
class Observation:
    """The outcomes of the rounds of another tenant: a run is created and awaited, read and listed."""

    errors: Counter[str] = field(default_factory=Counter)
    """By reason."""
    seconds: list[float] = field(default_factory=list)
    """Of each round that had no error."""

    def quantile(self, share: float) -> float:
        """The time of a round that this share of all rounds did not exceed."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] if self.seconds else float("nan")


async def observe(edge: str, rounds: int) -> Observation:
    """Make rounds at a steady rate, however long each takes, without retries."""
    observation = Observation()
    async with Client(edge, tenant=TENANT, retry_timeout=0) as client, asyncio.TaskGroup() as calls:
        for _ in range(rounds):
            calls.create_task(_round(client, observation))
            await asyncio.sleep(1 / ROUNDS_PER_SECOND)
    return observation


async def _round(client: Client, observation: Observation) -> None:
    began = time.monotonic()
    try:
        run = await client.create_run(ECHO, {"text": "x"})
        await client.wait_run(run.run_id, timeout=60)
        await client.get_run(run.run_id)
        await client.list_runs(limit=10)
    except GraphmeshError as error:
        observation.errors[error.reason] += 1
    else:
        observation.seconds.append(time.monotonic() - began)


@asynccontextmanager
async def attacking(mesh: RunningMesh, name: str) -> AsyncIterator[None]:
    """Attack the edge while the body runs, from another process."""
    async with Client(mesh.edge, tenant=attacks.TENANT) as client:
        later = datetime.now(UTC) + timedelta(hours=1)
        idle = await client.create_run(ECHO, {"text": "x"}, schedule_time=later)
    arguments = (local_address(mesh.mesh.edge), name, idle.run_id, ECHO)
    attacker = await asyncio.create_subprocess_exec(sys.executable, "-m", attacks.__name__, *arguments, stdout=PIPE)
    assert attacker.stdout is not None
    try:
        await attacker.stdout.readline()  # it begins
        yield
    finally:
        attacker.kill()
        await attacker.wait()
