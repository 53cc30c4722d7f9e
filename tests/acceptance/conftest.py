"""Two meshes for all acceptance tests: one that nobody damages, and one whose processes die and come back."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from graphmesh_cli.commands.sample_shop import fill

from tests.acceptance.shop import OwnShop, mesh_of, open_shop


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnShop]:
    """The whole of deploy/mesh.yaml with the sample shop. Tests leave its processes alone."""
    async with open_shop(tmp_path_factory.mktemp("shop")) as shop:
        await fill(shop.mesh)
        yield shop


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def breakable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnShop]:
    """All that a support request needs, and a customer. Tests want `fragile` instead."""
    folder = tmp_path_factory.mktemp("fragile")
    needed = mesh_of(folder, "orchestrator", "billing", "crm", "model", "retrieval", "ticketing")
    async with open_shop(folder, needed) as shop:
        await shop.open()
        yield shop


@pytest_asyncio.fixture(loop_scope="session")
async def fragile(breakable: OwnShop) -> AsyncIterator[OwnShop]:
    """A shop whose processes a test may kill; they are brought back after it."""
    await breakable.repaired()
    yield breakable
    await breakable.repaired()
