"""Several orchestrators on one PostgreSQL: whoever dies or is paused, another goes on with its runs (C1, C2, C5)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.shop import PRICE, OwnShop, eventually, mesh_of, open_shop
from tests.acceptance.test_recovery import PATIENCE, Watcher, refunded_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKERS = ("orchestrator-1", "orchestrator-2")


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnShop]:
    """A shop whose two orchestrators share a PostgreSQL."""
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", postgres_url)
    needed = mesh_of(
        tmp_path,
        *("orchestrator", "billing", "crm", "model", "retrieval", "ticketing"),
        orchestrator={"replicas": 2, "ports": [], "policy": {}},
    )
    async with open_shop(tmp_path, needed) as shop:
        await shop.open()
        yield shop


async def test_a_dead_workers_runs_are_the_others(pair: OwnShop) -> None:
    """One of two is killed while refunds are under way, and does not come back: each ends, each was made once."""
    invoices = [f"INV-DEAD-{number}" for number in range(4)]
    for invoice in invoices:
        await pair.sell(invoice)
    async with pair.client(PATIENCE) as client:
        with pair.writes_held("billing"):
            watchers = [await Watcher.of(client, invoice) for invoice in invoices]
            await asyncio.gather(*(watcher.refunding() for watcher in watchers))
            await pair.kill(WORKERS[0])
        for watcher, invoice in zip(watchers, invoices, strict=True):
            await refunded_once(pair, client, watcher, invoice)


async def test_a_paused_worker_changes_nothing_when_it_is_back(pair: OwnShop) -> None:
    """One of two is paused past its leases and comes back: what the other took over is refunded once, in one story."""
    invoices = [f"INV-PAUSED-{number}" for number in range(4)]
    for invoice in invoices:
        await pair.sell(invoice)
    async with pair.client(PATIENCE) as client:
        with pair.writes_held("billing"):
            watchers = [await Watcher.of(client, invoice) for invoice in invoices]
            await asyncio.gather(*(watcher.refunding() for watcher in watchers))
            paused = pair.running.child(WORKERS[0]).pid
            os.kill(paused, signal.SIGSTOP)
        try:
            for invoice in invoices:
                await eventually(partial(made_once, pair, invoice), PATIENCE)
        finally:
            os.kill(paused, signal.SIGCONT)
        for watcher, invoice in zip(watchers, invoices, strict=True):
            await refunded_once(pair, client, watcher, invoice)


async def made_once(shop: OwnShop, invoice_id: str) -> bool:
    return await shop.refunds(invoice_id) == [PRICE]
