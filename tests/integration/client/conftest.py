from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.orchestrator.kit import Kit, running


@pytest_asyncio.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with running(tmp_path) as kit:
        yield kit
