"""Due work is done in time without polling: notifications wake the background tasks up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator import v1 as pb
from graphmesh_orchestrator.intervals import Intervals

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_orchestrator
from tests.integration.orchestrator.test_webhooks import SECRET, delivery_of, eventually
from tests.integration.orchestrator.webhook_receiver import WebhookReceiver, receive_webhooks

SUCCESS = pb.RunStatus.RUN_STATUS_SUCCESS
DEAD, DELIVERED = pb.DeliveryStatus.DELIVERY_STATUS_DEAD, pb.DeliveryStatus.DELIVERY_STATUS_DELIVERED


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receive_webhooks() as receiver:
        yield receiver


@pytest_asyncio.fixture
async def mesh(tmp_path: Path, receiver: WebhookReceiver) -> AsyncIterator[Mesh]:
    """An orchestrator that has polled for everything once, and does not poll again within an hour."""
    never = Intervals(idle=3600)
    GATES["open"].set()
    webhooks: dict[str, Any] = {"webhook_hosts": [receiver.host], "webhook_secret": SECRET, "webhook_attempts": 1}
    async with (
        serve_billing(tmp_path) as billing,
        serve_orchestrator(tmp_path, billing, intervals=never, **webhooks) as mesh,
    ):
        for _ in range(3):
            assert (await mesh.run("gated", name="open")).status == SUCCESS
        yield mesh


async def test_end_is_delivered_and_dead_delivery_retried(mesh: Mesh, receiver: WebhookReceiver) -> None:
    receiver.responses = ["503 Service Unavailable"]
    run = await mesh.create("gated", {"name": "open"}, webhook_url=receiver.url)

    async def has_status(status: pb.DeliveryStatus.ValueType) -> bool:
        return (await mesh.wait(run)).status == SUCCESS and (await delivery_of(mesh, run)).status == status

    await eventually(lambda: has_status(DEAD))
    request = pb.RetryDeliveryRequest(delivery_id=(await delivery_of(mesh, run)).delivery_id)
    await mesh.call(pb.WebhookService.RetryDelivery, request)
    await eventually(lambda: has_status(DELIVERED))


async def test_approval_expires(mesh: Mesh) -> None:
    run = await mesh.create("approved_soon", {"invoice_id": await mesh.create_invoice(), "amount": 500})
    async with asyncio.timeout(60):
        while (run := await mesh.wait(run)).status != SUCCESS:
            await asyncio.sleep(0.05)
    assert notes(run) == ["APPROVAL_EXPIRED"]


async def test_delayed_run_begins(mesh: Mesh) -> None:
    """Also if a run with a later time was created before it."""
    _, soon = [await mesh.create("gated", {"name": "open"}, schedule_time=_in(seconds)) for seconds in (3600, 1)]
    assert (await mesh.wait(soon)).status == SUCCESS


def _in(seconds: int) -> Timestamp:
    when = Timestamp()
    when.GetCurrentTime()
    when.seconds += seconds
    return when
