"""What is due is done when it is, though nobody looks around for it: whoever makes it due says so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_orchestrator.notifications import poll_timer as pace

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
async def kit(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kit]:
    """An orchestrator that has looked for all once, and would not look again within an hour."""
    monkeypatch.setattr(pace, "IDLE_SECONDS", 3600.0)
    GATES["open"].set()
    told: dict[str, Any] = {"webhook_hosts": [receiver.host], "webhook_secret": SECRET, "webhook_attempts": 1}
    async with billing_of(tmp_path) as billing, orchestrating(tmp_path, billing, **told) as made:
        for _ in range(3):
            assert (await made.run("gated", name="open")).status == SUCCESS
        yield made


async def test_an_end_is_announced_and_a_dead_letter_tried_again(kit: Kit, receiver: Receiver) -> None:
    receiver.answers = ["503 Service Unavailable"]
    run = await kit.create("gated", {"name": "open"}, webhook_url=receiver.url)

    async def stands(status: pb.DeliveryStatus.ValueType) -> bool:
        return (await kit.stopped(run.run_id)).status == SUCCESS and (await delivery_of(kit, run)).status == status

    await eventually(lambda: stands(DEAD))
    request = pb.RetryDeliveryRequest(delivery_id=(await delivery_of(kit, run)).delivery_id)
    await kit.channel.unary(pb.WebhookService.RetryDelivery, request, deadline=Deadline.after(30))
    await eventually(lambda: stands(DELIVERED))


async def test_an_approval_expires(kit: Kit) -> None:
    run = await kit.create("approved_soon", {"invoice_id": await kit.invoice(), "amount": 500})
    async with asyncio.timeout(30):
        while (run := await kit.stopped(run.run_id)).status != SUCCESS:
            await asyncio.sleep(0.05)
    assert notes(run) == ["APPROVAL_EXPIRED"]


async def test_a_delayed_run_begins(kit: Kit) -> None:
    """Also where another one was asked for first that comes later."""
    _, soon = [await kit.create("gated", {"name": "open"}, schedule_time=_in(seconds)) for seconds in (3600, 1)]
    assert (await kit.stopped(soon.run_id)).status == SUCCESS


def _in(seconds: int) -> Timestamp:
    when = Timestamp()
    when.GetCurrentTime()
    when.seconds += seconds
    return when
