"""Every process is restarted, one after the other, while customers ask (C4)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_local.backends import Postgres
from graphmesh_local.child_process import State

from tests.acceptance.shop import PRICE, OwnShop, cracked, mesh_of, open_shop, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWO = {"replicas": 2, "ports": []}
ALONE = ("crm", "model", "retrieval", "ticketing")


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnShop]:
    """A shop with two orchestrators and two billing services."""
    needed = mesh_of(tmp_path, "orchestrator", "billing", *ALONE, orchestrator=TWO, billing=TWO)
    async with postgres.database() as runs, postgres.database() as books:
        monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", runs)
        monkeypatch.setenv("GRAPHMESH_BILLING_DATABASE_URL", books)
        async with open_shop(tmp_path, needed) as shop:
            await shop.open()
            yield shop


class Customers:
    """Customers who have damaged ink refunded, again and again."""

    def __init__(self, shop: OwnShop) -> None:
        self._shop = shop
        self.refunded: list[str] = []
        self.closed = False

    async def served(self, more: int) -> None:
        """Until so many more refunds were made."""
        wanted = len(self.refunded) + more
        await until(lambda: len(self.refunded) >= wanted, 60)

    async def ask(self) -> None:
        while not self.closed:
            invoice = f"INV-{uuid4().hex}"
            await self._shop.sell(invoice)
            run = await self._shop.ask(cracked(invoice))
            assert run.status == RunStatus.RUN_STATUS_SUCCESS, run
            self.refunded.append(invoice)


async def test_no_run_notices_a_rolling_restart(shop: OwnShop) -> None:
    """No call of a customer fails, each run ends well, and each refund was made once."""
    customers = Customers(shop)
    asking = [asyncio.create_task(customers.ask()) for _ in range(2)]
    for name in ("billing-1", "orchestrator-1", "billing-2", "orchestrator-2"):
        await restart(shop, name)
        await customers.served(1)
    customers.closed = True
    await asyncio.gather(*asking)
    assert [await shop.refunds(invoice) for invoice in customers.refunded] == [[PRICE]] * len(customers.refunded)
    assert await shop.balanced()


async def restart(shop: OwnShop, name: str) -> None:
    """SIGTERM, and the same again once it has gone."""
    child = shop.running.child(name)
    os.kill(child.pid, signal.SIGTERM)
    await until(lambda: child.state is State.DIED, 60)
    await shop.running.revive(name)
