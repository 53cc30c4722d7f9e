"""Starting programs of Python as forks of a process that has imported them: in hundredths of a second, not in seconds.

What dies and is started again many times a minute would spend its life on imports otherwise. Each is a process of its
own all the same; only `ps` shows the command line of the process that it was forked from.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from signal import SIGKILL

from graphmesh_local.child_process import ProcessError
from graphmesh_local.fork_server import encoded, module_of
from graphmesh_local.spawning import Process, Spawn, Start, execute, leashed

GONE = "the process that forks has ended"


class NoForker(ProcessError):
    """The process that forks has ended."""


@asynccontextmanager
async def forking(packages: Sequence[str]) -> AsyncIterator[Spawn]:
    """A way to start processes that is quick for `python -m` of the `packages`, and that of `execute` for all else.

    The packages see the environment of this process when they are imported, and that of their program when they run.
    """
    forker = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, "-m", "graphmesh_local.fork_server", *packages], "", SIGKILL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        process_group=0,
    )
    fork = _Fork(forker, packages)
    listening = asyncio.create_task(fork.listen(), name="forker")
    try:
        yield fork
    finally:
        fork.close()
        await listening


class _Fork(Spawn):
    """Asks the forker, and hears of all that it has started."""

    def __init__(self, forker: asyncio.subprocess.Process, packages: Sequence[str]) -> None:
        assert forker.stdin
        assert forker.stdout
        self._forker, self._requests, self._reports = forker, forker.stdin, forker.stdout
        self._packages = packages
        self._starting: deque[asyncio.Future[Process]] = deque()
        self._running: dict[int, _Forked] = {}

    async def __call__(self, start: Start) -> Process:
        if module_of(start) not in self._packages:
            return await execute(start)
        if self._reports.at_eof():
            raise NoForker(GONE)
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        self._requests.write(encoded(start))
        return await started

    def close(self) -> None:
        self._requests.close()

    async def listen(self) -> None:
        """Until the forker has ended, and all that it has started with it."""
        async for line in self._reports:
            match line.split():
                case [b"started", pid]:
                    self._started(_Forked(int(pid)))
                case [b"ended", pid, code]:
                    self._running.pop(int(pid)).end(int(code))
        await self._forker.wait()
        for process in self._running.values():
            process.end(-SIGKILL)
        for started in self._starting:
            if not started.done():
                started.set_exception(NoForker(GONE))

    def _started(self, process: "_Forked") -> None:
        self._running[process.pid] = process
        started = self._starting.popleft()
        if started.cancelled():
            process.kill()
        else:
            started.set_result(process)


class _Forked:
    """A child of the forker."""

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
