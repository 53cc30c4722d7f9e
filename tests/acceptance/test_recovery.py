"""The orchestrator dies in the middle of a run, at the worst moment: a refund is under way (C1, C3, B4)."""

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest
from graphmesh.orchestrator.v1 import RunEvent
from graphmesh_client import Client
from graphmesh_local.running_mesh import ORCHESTRATOR

from tests.acceptance.shop import MIRA, PRICE, OwnShop, answered, cracked, eventually, output

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 60
DYING = ([ORCHESTRATOR], [ORCHESTRATOR, "billing"])


class Watcher:
    """A client that watches a refund through the edge, whatever happens to the connection."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.run_id = run_id
        self.seen: list[RunEvent] = []
        self._client = client
        self._refunding = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def of(cls, client: Client, invoice_id: str) -> "Watcher":
        message = cracked(invoice_id)
        return cls(client, (await client.create_run("support", {"customer_id": MIRA, "message": message})).run_id)

    async def refunding(self) -> None:
        """The refund is under way."""
        async with asyncio.timeout(PATIENCE):
            await self._refunding.wait()

    async def ended(self) -> None:
        """All events have been seen."""
        async with asyncio.timeout(PATIENCE):
            await self._watching

    async def _watch(self) -> None:
        async for event in self._client.stream_run(self.run_id):
            self.seen.append(event)
            if event.node == "refund":
                self._refunding.set()


@pytest.mark.parametrize("dying", DYING, ids="+".join)
async def test_killed_before_the_refund_is_made(fragile: OwnShop, dying: Sequence[str]) -> None:
    """Whoever comes back goes on with the run: one refund, every event once and without a gap."""
    invoice = f"INV-BEFORE-{len(dying)}"
    await fragile.sell(invoice)
    async with fragile.client(PATIENCE) as client:
        with fragile.writes_held("billing"):
            watcher = await Watcher.of(client, invoice)
            await watcher.refunding()
            for name in dying:
                await fragile.kill(name)
        await asyncio.gather(*map(fragile.running.revive, dying))
        await refunded_once(fragile, client, watcher, invoice)


@pytest.mark.parametrize("dying", DYING, ids="+".join)
async def test_killed_after_the_refund_is_made(fragile: OwnShop, dying: Sequence[str]) -> None:
    """The money is gone and the orchestrator never heard of it: the next one asks again with the same key."""
    invoice = f"INV-AFTER-{len(dying)}"
    await fragile.sell(invoice)
    async with fragile.client(PATIENCE) as client:
        with fragile.writes_held("billing"):
            watcher = await Watcher.of(client, invoice)
            await watcher.refunding()
            os.kill(fragile.running.child(ORCHESTRATOR).pid, signal.SIGSTOP)
        await eventually(lambda: made(fragile, invoice))
        for name in dying:
            await fragile.kill(name)
        await asyncio.gather(*map(fragile.running.revive, dying))
        await refunded_once(fragile, client, watcher, invoice)


async def made(shop: OwnShop, invoice_id: str) -> bool:
    return await shop.refunds(invoice_id) == [PRICE]


async def refunded_once(shop: OwnShop, client: Client, watcher: Watcher, invoice_id: str) -> None:
    await watcher.ended()
    run = await client.get_run(watcher.run_id)
    assert output(run)["outcome"] == "refunded"
    assert await answered(lambda: shop.refunds(invoice_id)) == [PRICE]
    assert await shop.balanced()
    assert [event.seq for event in watcher.seen] == list(range(1, run.last_seq + 1))
    assert [event async for event in client.stream_run(watcher.run_id)] == watcher.seen
