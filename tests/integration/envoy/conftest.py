"""The fixture `envoy`: an Envoy with one replica behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, envoy_with_replica


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[EnvoyHarness]:
    """Envoy with the policies of books.proto."""
    async with envoy_with_replica(books_mesh(), tmp_path) as envoy:
        yield envoy
