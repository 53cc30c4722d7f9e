"""Start Python programs as forks of a server process that has imported them: in about 10 ms instead of seconds.

For tests that kill and restart servers many times a minute. Each program is a process of its own; only `ps` shows the
command line of the fork server.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from signal import SIGKILL

from graphmesh_local.child_process import ProcessError
from graphmesh_local.fork_server import encode, python_module
from graphmesh_local.spawning import Process, ProcessSpec, Spawner, die_with_parent_command, spawn_process


class ForkServerGone(ProcessError):
    """The fork server has ended."""

    def __init__(self) -> None:
        super().__init__("the fork server has ended")


@asynccontextmanager
async def fork_spawner(packages: Sequence[str], settings: Mapping[str, str] | None = None) -> AsyncIterator[Spawner]:
    """Yield a spawner that forks for `python -m PACKAGE` of the `packages`, and uses `spawn_process` for all else.

    The packages see the environment of this process, with the `settings`, when they are imported, and that of their
    program when they run.
    """
    server = await asyncio.create_subprocess_exec(
        *die_with_parent_command([sys.executable, "-m", "graphmesh_local.fork_server", *packages], "", SIGKILL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(settings or {})},
        process_group=0,
    )
    client = _ForkClient(server, packages)
    reading = asyncio.create_task(client.read_reports(), name="fork server")
    try:
        yield client
    finally:
        client.close()
        await reading


class _ForkClient(Spawner):
    """Sends requests to the fork server, and follows the processes that it reports."""

    def __init__(self, server: asyncio.subprocess.Process, packages: Sequence[str]) -> None:
        assert server.stdin
        assert server.stdout
        self._server, self._requests, self._reports = server, server.stdin, server.stdout
        self._packages = packages
        self._starting: deque[asyncio.Future[Process]] = deque()
        self._running: dict[int, _ForkedProcess] = {}

    async def __call__(self, spec: ProcessSpec) -> Process:
        if python_module(spec) not in self._packages:
            return await spawn_process(spec)
        if self._reports.at_eof():
            raise ForkServerGone
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        self._requests.write(encode(spec))
        return await started

    def close(self) -> None:
        self._requests.close()

    async def read_reports(self) -> None:
        """Read reports until the fork server has ended, and with it all that it has started."""
        async for line in self._reports:
            match line.split():
                case [b"started", pid]:
                    self._on_started(_ForkedProcess(int(pid)))
                case [b"ended", pid, code]:
                    self._running.pop(int(pid)).end(int(code))
        await self._server.wait()
        for process in self._running.values():
            process.end(-SIGKILL)
        for started in self._starting:
            if not started.done():
                started.set_exception(ForkServerGone())

    def _on_started(self, process: "_ForkedProcess") -> None:
        self._running[process.pid] = process
        started = self._starting.popleft()
        if started.cancelled():
            process.kill()
        else:
            started.set_result(process)


class _ForkedProcess:
    """A child of the fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._returncode: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        return self._returncode.result() if self._returncode.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._returncode)

    def end(self, code: int) -> None:
        self._returncode.set_result(code)

    def send_signal(self, signal: int) -> None:
        if self._returncode.done():
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, signal)

    def kill(self) -> None:
        self.send_signal(SIGKILL)
