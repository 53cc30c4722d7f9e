"""Due work is done in time without polling: notifications wake the background tasks up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_orchestrator.intervals import Intervals

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating
from tests.integration.orchestrator.receiver import Receiver, receiving
from tests.integration.orchestrator.test_webhooks import SECRET, delivery_of, eventually

SUCCESS = pb.RunStatus.RUN_STATUS_SUCCESS
DEAD, DELIVERED = pb.DeliveryStatus.DELIVERY_STATUS_DEAD, pb.DeliveryStatus.DELIVERY_STATUS_DELIVERED


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest_asyncio.fixture
async def kit(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Kit]:
    """An orchestrator that has polled for everything once, and does not poll again within an hour."""
    never = Intervals(idle=3600)
    GATES["open"].set()
    webhooks: dict[str, Any] = {"webhook_hosts": [receiver.host], "webhook_secret": SECRET, "webhook_attempts": 1}
    async with billing_of(tmp_path) as billing, orchestrating(tmp_path, billing, intervals=never, **webhooks) as made:
        for _ in range(3):
            assert (await made.run("gated", name="open")).status == SUCCESS
        yield made


async def test_end_is_delivered_and_dead_delivery_retried(kit: Kit, receiver: Receiver) -> None:
    receiver.answers = ["503 Service Unavailable"]
    run = await kit.create("gated", {"name": "open"}, webhook_url=receiver.url)

    async def has_status(status: pb.DeliveryStatus.ValueType) -> bool:
        return (await kit.stopped(run.run_id)).status == SUCCESS and (await delivery_of(kit, run)).status == status

    await eventually(lambda: has_status(DEAD))
    request = pb.RetryDeliveryRequest(delivery_id=(await delivery_of(kit, run)).delivery_id)
    await kit.channel.unary(pb.WebhookService.RetryDelivery, request, deadline=Deadline.after(30))
    await eventually(lambda: has_status(DELIVERED))


async def test_approval_expires(kit: Kit) -> None:
    run = await kit.create("approved_soon", {"invoice_id": await kit.invoice(), "amount": 500})
    async with asyncio.timeout(30):
        while (run := await kit.stopped(run.run_id)).status != SUCCESS:
            await asyncio.sleep(0.05)
    assert notes(run) == ["APPROVAL_EXPIRED"]


async def test_delayed_run_begins(kit: Kit) -> None:
    """Also if a run with a later time was created before it."""
    _, soon = [await kit.create("gated", {"name": "open"}, schedule_time=_in(seconds)) for seconds in (3600, 1)]
    assert (await kit.stopped(soon.run_id)).status == SUCCESS


def _in(seconds: int) -> Timestamp:
    when = Timestamp()
    when.GetCurrentTime()
    when.seconds += seconds
    return when
