"""A fork server for all experiments."""

import os
from collections.abc import AsyncIterator

import pytest_asyncio
from graphmesh_chaos.experiment import PROGRAMS
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.spawning import Spawner

from tests.chaos.sabotage.settings import PROGRAM, ROOT


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def spawn() -> AsyncIterator[Spawner]:
    """Starts servers, sabotaged or not, without their imports, which take seconds."""
    folders = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    async with fork_spawner([*PROGRAMS, PROGRAM], {"PYTHONPATH": os.pathsep.join(filter(None, folders))}) as spawn:
        yield spawn
