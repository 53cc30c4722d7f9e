"""`graphmesh up` as a process, for tests."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from graphmesh_local.state_folder import MeshState


@asynccontextmanager
async def graphmesh_up(mesh_file: Path, state: Path, *options: str) -> AsyncIterator[Process]:
    """Run `graphmesh up` on free ports, and yield it when all its processes are ready."""
    argv = ["-m", "graphmesh_cli", "up", "--free-ports", "--mesh", str(mesh_file), "--state", str(state), *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env={**os.environ, "COLUMNS": "200"}
    )
    assert process.stdout
    try:
        async with asyncio.timeout(250):
            shown = b""
            while b"Ctrl-C" not in (line := await process.stdout.readline()):
                shown += line
                assert line, f"it ended before it was ready: {shown.decode()}"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def processes_of(state: MeshState) -> list[psutil.Process]:
    return [psutil.Process(process.pid) for process in state.processes.values()]
