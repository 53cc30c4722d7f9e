"""Fixtures: an Envoy with one replica behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.envoy.rig import Rig, shelf_mesh, standing


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The shelf as its proto declares it."""
    async with standing(shelf_mesh(), tmp_path) as rig:
        yield rig
