"""Several orchestrators on one PostgreSQL: whoever dies or is paused, another goes on with its runs (C1, C2, C5)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import pytest
import pytest_asyncio
from psycopg import AsyncConnection

from tests.acceptance.shop import PRICE, OwnShop, eventually, mesh_of, open_shop
from tests.acceptance.test_recovery import PATIENCE, Watcher, refunded_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKERS = ("orchestrator-1", "orchestrator-2", "orchestrator-3")


@asynccontextmanager
async def sharing(folder: Path, replicas: int) -> AsyncIterator[OwnShop]:
    needed = mesh_of(
        folder,
        *("orchestrator", "billing", "crm", "model", "retrieval", "ticketing"),
        orchestrator={"replicas": replicas, "ports": [], "policy": {}},
    )
    async with open_shop(folder, needed) as shop:
        await shop.open()
        yield shop


@pytest_asyncio.fixture(loop_scope="session")
async def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the PostgreSQL that the orchestrators share."""
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_DATABASE_URL", postgres_url)
    return postgres_url


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, database: str) -> AsyncIterator[OwnShop]:
    """A shop with two orchestrators."""
    async with sharing(tmp_path, 2) as shop:
        yield shop


@pytest_asyncio.fixture(loop_scope="session")
async def trio(tmp_path: Path, database: str) -> AsyncIterator[OwnShop]:
    """A shop with three."""
    async with sharing(tmp_path, 3) as shop:
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


async def test_nobody_waits_for_the_leases_of_the_dead(trio: OwnShop, database: str) -> None:
    """One of three is killed whose leases hold for an hour: the others see that its lock is gone, and take its runs."""
    invoices, watchers = [f"INV-LEASED-{number}" for number in range(20)], list[Watcher]()
    for invoice in invoices:
        await trio.sell(invoice)
    async with trio.client(PATIENCE) as client:
        with trio.writes_held("billing"):
            for invoice in invoices:
                watchers.append(await Watcher.of(client, invoice))
                [[busy]] = await asked(database, "SELECT count(DISTINCT lease_owner) FROM runs WHERE lease_owner <> ''")
                if busy == len(WORKERS):
                    break
            await asyncio.gather(*(watcher.refunding() for watcher in watchers))
            await asked(database, "UPDATE runs SET lease_expires = lease_expires + 3600 WHERE status = 'running'")
            await trio.kill(WORKERS[0])
        for watcher, invoice in zip(watchers, invoices, strict=False):
            await refunded_once(trio, client, watcher, invoice)
    [[taken]] = await asked(database, "SELECT count(*) FROM runs WHERE epoch > 1")
    assert taken > 0


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


async def asked(url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    """What PostgreSQL answers."""
    async with await AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else []


async def made_once(shop: OwnShop, invoice_id: str) -> bool:
    return await shop.refunds(invoice_id) == [PRICE]
