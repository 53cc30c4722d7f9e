"""Child processes: start, readiness, death and stop. No child outlives the process that started it."""

import asyncio
import os
import shlex
import signal
import socket
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from graphmesh_local.errors import LocalError
from graphmesh_local.probes import (
    NOT_READY_ERRORS,
    PROBE_PERIOD,
    PROBE_TIMEOUT,
    PlaintextServer,
    Probe,
    always_ready,
)
from graphmesh_local.spawning import Process, ProcessSpec, Spawner, spawn_process

LAST_LINES = 20
REFUSED_SETTINGS = 2
"""The exit code of a server that cannot use its settings; its last line is the reason, in one sentence."""


def reserve_port(host: str = "127.0.0.1") -> int:
    """Return a free port that the kernel assigns to no other socket for the next minute.

    A connection closed by its server side leaves the port in TIME_WAIT: the kernel no longer hands it out, neither to
    a listener on port 0 nor to an outgoing connection, but a server that names it may bind it.
    """
    with closing(socket.create_server((host, 0), backlog=1)) as server:
        address = server.getsockname()
        with closing(socket.create_connection(address)):
            server.accept()[0].close()
        return int(address[1])


@dataclass(frozen=True)
class Program:
    """A command, and how it is probed and stopped."""

    name: str
    argv: Sequence[str]
    log: Path
    """Its output is appended here."""
    probe: Probe = always_ready
    address: str = ""
    """The address that it listens on; only displayed."""
    metrics: str = ""
    """The address at which Prometheus reads its metrics; empty where it serves none."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to this process' own environment."""
    withheld: tuple[str, ...] = ()
    """Prefixes of the variables of this process' environment that it does not get."""
    folder: Path | None = None
    """Its working directory."""
    user: str = ""
    """The user to run it as; empty: that of this process."""
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """The signal that it gets when this process dies."""
    start_timeout: float = 180.0
    """Seconds until it must be ready."""
    stop_timeout: float = 10.0
    """Seconds between `stop_signal` and SIGKILL."""

    @property
    def command(self) -> str:
        """The shell command that runs the same program."""
        command = shlex.join(["env", *(f"{name}={value}" for name, value in self.env.items()), *self.argv])
        return f"cd {shlex.quote(str(self.folder))} && {command}" if self.folder else command

    @property
    def spec(self) -> ProcessSpec:
        """The process to start for it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(self.withheld)}
        env = {**inherited, **self.env}
        return ProcessSpec(self.argv, self.log, env, self.folder, self.user, self.death_signal)


class State(Enum):
    """Status of a child process."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Death:
    """The end of a process."""

    name: str
    pid: int
    returncode: int
    """As in `subprocess`: negative for a signal."""
    after: float
    """Seconds from its start to its end."""
    log: Path
    last_lines: Sequence[str]

    @property
    def cause(self) -> str:
        if self.returncode >= 0:
            return f"exited with code {self.returncode}"
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"was killed by signal {-self.returncode}"

    def __str__(self) -> str:
        if self.returncode == REFUSED_SETTINGS and self.last_lines:
            return self.last_lines[-1]
        head = f"{self.name} (pid {self.pid}) {self.cause} after {self.after:.1f} s"
        return with_last_lines(head, self.log, self.last_lines)


def with_last_lines(head: str, log: Path, lines: Sequence[str]) -> str:
    """Return `head` followed by the last lines of a process' log."""
    if not lines:
        return f"{head}; it wrote nothing to {log}"
    return "\n".join([f"{head}; its last lines in {log}:", *(f"  {line}" for line in lines)])


class ProcessError(LocalError):
    """A process did not become ready."""


class ProcessDied(ProcessError):
    """A process ended before it was ready."""

    def __init__(self, death: Death) -> None:
        super().__init__(str(death))
        self.death = death


class NotReady(ProcessError):
    """A process runs but did not become ready within its `start_timeout`."""


class Child:
    """One program as a process, which can be started again when it has ended.

    The event loop's thread must outlive it: the parent-death signal is sent when the thread that forked ends.
    """

    def __init__(self, program: Program, spawn: Spawner = spawn_process) -> None:
        self.program = program
        self._spawn = spawn
        self.state = State.NEW
        self.starts = 0
        self.last_death: Death | None = None
        self._process: Process | None = None
        self._started = 0.0
        self._ready_after: float | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The pid of its running or last process; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def seconds(self) -> float:
        """Seconds that the start took, or has taken so far."""
        if self._ready_after is not None:
            return self._ready_after
        return time.monotonic() - self._started if self._process else 0.0

    async def start(self) -> None:
        program = self.program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        program.log.touch(mode=0o600)
        self._log_start = program.log.stat().st_size
        self._process = await self._spawn(program.spec)
        self._started, self._ready_after = time.monotonic(), None
        self.starts += 1
        self.state = State.STARTING

    async def wait_ready(self) -> None:
        """Wait until the probe succeeds.

        Raises:
            ProcessDied: the process ended first.
            NotReady: it did not become ready within `start_timeout`.
        """
        timeout = self.program.start_timeout
        try:
            async with asyncio.timeout(timeout):
                await abort_on_death(self._poll_probe(), self.wait())
        except TimeoutError:
            head = f"{self.program.name} (pid {self.pid}) is not ready after {timeout:g} s"
            raise NotReady(with_last_lines(head, self.program.log, self.last_lines())) from None
        except PlaintextServer as error:
            raise NotReady(
                f"{self.program.name} (pid {self.pid}): {error}: it has to serve with the certificate that its "
                "environment names, or its entry in mesh.yaml has to state plaintext: true"
            ) from None
        self._ready_after = time.monotonic() - self._started
        self.state = State.READY

    async def wait(self) -> Death:
        """Wait until its process has ended."""
        assert self._process, "not started"
        returncode = await self._process.wait()
        after = time.monotonic() - self._started
        death = Death(self.program.name, self._process.pid, returncode, after, self.program.log, self.last_lines())
        if self.state is not State.STOPPED:
            self.state, self.last_death = State.DIED, death
        return death

    async def stop(self) -> None:
        """Send `stop_signal`, after `stop_timeout` SIGKILL; then kill the rest of its process group."""
        if self._process is None:
            return
        if self.state is not State.DIED:
            self.state = State.STOPPED
            await self._terminate(self._process)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Send SIGKILL if it runs."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    def last_lines(self) -> list[str]:
        """Return the last lines that its running or last process wrote."""
        with self.program.log.open("rb") as log:
            log.seek(max(self._log_start, self.program.log.stat().st_size - 65536))
            return log.read().decode(errors="replace").splitlines()[-LAST_LINES:]

    def output(self) -> str:
        """Return all that its running or last process wrote."""
        with self.program.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    async def _poll_probe(self) -> None:
        while not await self._is_ready():
            await asyncio.sleep(PROBE_PERIOD)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                return await self.program.probe()
        except NOT_READY_ERRORS:
            return False

    async def _terminate(self, process: Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_timeout):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def abort_on_death(work: Coroutine[None, None, None], death: Coroutine[None, None, Death]) -> None:
    """Await `work`; cancel it when `death` completes first.

    Raises:
        ProcessDied: `death` completed first.
    """
    work_task, death_task = asyncio.ensure_future(work), asyncio.ensure_future(death)
    try:
        await asyncio.wait({work_task, death_task}, return_when=asyncio.FIRST_COMPLETED)
        if death_task.done():
            raise ProcessDied(death_task.result())
        work_task.result()
    finally:
        work_task.cancel()
        death_task.cancel()


async def gather_or_cancel(awaitables: Iterable[Coroutine[None, None, None]]) -> None:
    """Await all; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def run(program: Program) -> None:
    """Run `program` to its end.

    Raises:
        ProcessDied: it ended with another code than 0.
    """
    child = Child(program)
    try:
        await child.start()
        death = await child.wait()
    finally:
        await child.stop()
    if death.returncode != 0:
        raise ProcessDied(death)
