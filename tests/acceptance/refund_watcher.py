"""A client that follows the run of a refund while processes of the mesh are killed."""

import asyncio

from graphmesh.orchestrator.v1 import RunEvent
from graphmesh_client import Client

from tests.acceptance.local_mesh import (
    MIRA,
    PRICE,
    LocalMesh,
    MeshClient,
    accept_refund,
    output,
    refund_request,
    retry_until_answered,
)

TIMEOUT = 60


class RefundWatcher:
    """Follows the events of a refund's run through the edge, across broken connections."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.run_id = run_id
        self.seen: list[RunEvent] = []
        self._client = client
        self._at_refund_node = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def begin(cls, client: Client, invoice_id: str, customer_id: str = MIRA) -> "RefundWatcher":
        """Begin the run of a refund, accept what it proposes, and follow it."""
        given = {"customer_id": customer_id, "message": refund_request(invoice_id)}
        run_id = (await client.create_run("support", given)).run_id
        await accept_refund(client, run_id, TIMEOUT)
        return cls(client, run_id)

    async def wait_for_refund_node(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._at_refund_node.wait()

    async def wait_for_end(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._watching

    async def _watch(self) -> None:
        async for event in self._client.stream_run(self.run_id):
            self.seen.append(event)
            if event.node == "refund":
                self._at_refund_node.set()


async def is_refunded_once(mesh: MeshClient, invoice_id: str) -> bool:
    return await mesh.refunds(invoice_id) == [PRICE]


async def assert_refunded_once(mesh: LocalMesh, client: Client, watcher: RefundWatcher, invoice_id: str) -> None:
    """Assert that the run succeeds, the refund is made once, and each event was received once, in order."""
    await watcher.wait_for_end()
    run = await client.get_run(watcher.run_id)
    assert output(run)["outcome"] == "refunded"
    assert await retry_until_answered(lambda: mesh.refunds(invoice_id)) == [PRICE]
    assert await mesh.is_balanced()
    assert [event.seq for event in watcher.seen] == list(range(1, run.last_seq + 1))
    assert [event async for event in client.stream_run(watcher.run_id)] == watcher.seen
