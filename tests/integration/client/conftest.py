from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.orchestrator.mesh import Mesh, serve_mesh


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with serve_mesh(tmp_path) as mesh:
        yield mesh
