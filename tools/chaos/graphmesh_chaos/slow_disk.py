"""Makes the disk of a PostgreSQL server slow, as its clients see it: commits take up to two seconds.

The server's processes are paused together and continued for a moment, again and again: to a client, a backend that
waits for the disk and one that is paused are the same.
"""

import asyncio
import signal
from contextlib import suppress
from random import Random

import psutil
from graphmesh_local.backends import Postgres

PAUSE_SECONDS = (0.5, 2.0)
RUN_SECONDS = 0.2
"""Time between two pauses: enough for the statements of a transaction, of which a disk delays the commit alone."""


async def slow_down(server: Postgres, seconds: float) -> None:
    """Let commits take long for some time."""
    random, loop = Random(seconds), asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await _pause(server, random.uniform(*PAUSE_SECONDS))
        await asyncio.sleep(RUN_SECONDS)


async def _pause(server: Postgres, seconds: float) -> None:
    pid_file = server.folder / "data" / "postmaster.pid"
    processes = psutil.Process(int(pid_file.read_text().split()[0])).children()
    try:
        _send(processes, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        _send(processes, signal.SIGCONT)


def _send(processes: list[psutil.Process], by: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(by)
