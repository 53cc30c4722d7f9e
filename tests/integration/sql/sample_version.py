"""The version of a sample that has just been written: it is known after a tick of the clock of the file system."""

import asyncio
from pathlib import Path

from graphmesh_sql.worker.sqlite_schema import data_version


async def wait_for_version(sample: Path) -> None:
    """Wait until the version of the sample is known: without it, no result is cached."""
    async with asyncio.timeout(60):
        while not data_version(sample):
            await asyncio.sleep(0.01)
