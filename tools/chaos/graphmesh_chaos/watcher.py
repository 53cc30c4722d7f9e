"""Another tenant: it calls the edge steadily, and reports the errors and the times that it observes."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_local.development_issuer import issue_token
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_local.server_programs import local_address
from graphmesh_mesh.service import Listener

from graphmesh_chaos import attacker as attacker_program
from graphmesh_chaos.attack_target import TENANT as TENANT_OF_ATTACKS
from graphmesh_chaos.attack_target import TOKEN_SECONDS

ECHO = "echo"
"""The name of a graph that returns its input."""
ECHO_FILE = Path(__file__).parent / "graphs" / "echo.py"
TENANT = "watcher"
ROUNDS_PER_SECOND = 5.0


@dataclass(frozen=True)
class AttackedMesh:
    """A running mesh."""

    running: RunningMesh
    receiver: Listener
    """A host that webhooks may call."""


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


async def observe(mesh: RunningMesh, rounds: int) -> Observation:
    """Make rounds at a steady rate on a new connection, however long each takes, without retries."""
    observation = Observation()
    token = issue_token(mesh.folder, TENANT, "watcher", ["admin"], TOKEN_SECONDS)
    async with Client(mesh.edge, token=token, retry_timeout=0) as client, asyncio.TaskGroup() as calls:
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


class Attacker:
    """Another process, which attacks the edge."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.sent = 0
        """The requests, or connections, of the last attack."""

    @asynccontextmanager
    async def attacking(self, name: str) -> AsyncIterator[None]:
        """Attack while the body runs."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n".encode())
        await self._line()
        try:
            yield
        finally:
            self._process.stdin.write(b"end\n")
            self.sent = int(await self._line())

    async def _line(self) -> bytes:
        """The process' next line. Raises RuntimeError: it has ended."""
        assert self._process.stdout is not None
        if not (line := await self._process.stdout.readline()):
            raise RuntimeError("the attacker has ended; its error is above")
        return line


@asynccontextmanager
async def attacker(attacked: AttackedMesh) -> AsyncIterator[Attacker]:
    """Start a process that attacks; it is killed at the end."""
    mesh = attacked.running
    token = issue_token(mesh.folder, TENANT_OF_ATTACKS, "attacker", ["admin"], TOKEN_SECONDS)
    async with Client(mesh.edge, token=token) as client:
        later = datetime.now(UTC) + timedelta(hours=1)
        idle = await client.create_run(ECHO, {"text": "x"}, schedule_time=later)
    addresses = local_address(mesh.mesh.edge), attacked.receiver.target
    arguments = (*addresses, str(mesh.folder.path), idle.run_id, ECHO)
    command = (sys.executable, "-m", attacker_program.__name__, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        yield Attacker(process)
    finally:
        process.kill()
        await process.wait()
