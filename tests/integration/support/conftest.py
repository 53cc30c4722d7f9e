"""A shop for each test, with its own services and databases."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.support.shop import Shop, fill, open_shop


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def filled_databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filled shop's databases, to copy for each test: filling them takes longer than a test."""
    folder = tmp_path_factory.mktemp("shop")
    async with open_shop(folder) as shop:
        await fill(shop)
    return folder


@pytest_asyncio.fixture
async def shop(filled_databases: Path, tmp_path: Path) -> AsyncIterator[Shop]:
    shutil.copytree(filled_databases, tmp_path, dirs_exist_ok=True)
    async with open_shop(tmp_path) as shop:
        yield shop
