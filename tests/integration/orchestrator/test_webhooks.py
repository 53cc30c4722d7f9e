"""Webhooks of ended runs, delivered to real servers."""

import asyncio
import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.db.tables import deliveries
from graphmesh_orchestrator.errors import WebhookNotAllowed
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.webhooks.deliveries import delivery_row
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus, HostPatterns, RetryPolicy, secret_bytes
from graphmesh_orchestrator.webhooks.dispatcher import MAX_PER_HOST, Dispatcher
from graphmesh_orchestrator.webhooks.receivers import Receivers, announcement

from tests.contract.runs import a_run
from tests.integration.envoy.egress_harness import Names, egress_mesh
from tests.integration.envoy.envoy_harness import running_envoy
from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_mesh, serve_orchestrator
from tests.integration.orchestrator.webhook_receiver import WebhookReceiver, WebhookRequest, receive_webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def serve_mesh_with_webhooks(folder: Path, *hosts: str) -> AsyncIterator[Mesh]:
    """Serve a mesh that may send webhooks to these hosts."""
    async with (
        serve_billing(folder) as billing,
        serve_orchestrator(folder, billing, webhook_hosts=hosts, webhook_secret=SECRET) as mesh,
    ):
        yield mesh


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.05)


async def delivery_of(mesh: Mesh, run: pb.Run) -> pb.Delivery:
    request = pb.ListDeliveriesRequest(run_id=run.run_id)
    [delivery] = (await mesh.call(pb.WebhookService.ListDeliveries, request)).deliveries
    return delivery


async def is_delivered(mesh: Mesh, run: pb.Run) -> bool:
    return (await delivery_of(mesh, run)).status == pb.DeliveryStatus.DELIVERY_STATUS_DELIVERED


def is_signed(request: WebhookRequest) -> bool:
    """Verify the signature as a receiver does that has only the standard and the secret."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return request.headers["webhook-signature"] == f"v1,{signature}"


@asynccontextmanager
async def dispatching(
    database: Database, *receivers: WebhookReceiver, max_attempts: int = 5, egress: str = ""
) -> AsyncIterator[SqlDeliveries]:
    """Run a dispatcher with a short backoff that may call these receivers."""
    store, patterns = SqlDeliveries(database), HostPatterns([receiver.host for receiver in receivers])
    policy, allowed = RetryPolicy(max_attempts, first_backoff=0.01), Receivers(patterns, secret_bytes(SECRET))
    timer = PollTimer(Notifier(is_alone=False))
    task = asyncio.create_task(Dispatcher(store, SqlRuns(database), allowed, policy, timer, egress).run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def add_ended_run(database: Database, number: int, receiver: WebhookReceiver) -> Delivery:
    """Store a run that has ended, and the delivery that announces it to the receiver."""
    output = {"notes": ["é"]}
    run = a_run(f"run_{number}", status=RunStatus.SUCCESS, output=output, ended=NOW, webhook_url=receiver.url)
    await SqlRuns(database).add(run, worker="")
    delivery = announcement(run)
    async with database.transaction() as connection:
        await connection.execute(sa.insert(deliveries).values(delivery_row(delivery)))
    return delivery


async def find_deliveries(store: SqlDeliveries, status: DeliveryStatus) -> Sequence[Delivery]:
    return await store.find("acme", {"status": status}, None, 500)


async def until_found(store: SqlDeliveries, status: DeliveryStatus, number: int = 1) -> None:
    """Wait until that number of deliveries have the status."""

    async def has_found() -> bool:
        return len(await find_deliveries(store, status)) >= number

    await eventually(has_found)


async def test_end_of_a_run_is_delivered_and_signed(tmp_path: Path) -> None:
    """Of successful and of failed runs. The event has the run as GetRun returns it."""
    async with receive_webhooks() as receiver, serve_mesh_with_webhooks(tmp_path, receiver.host) as mesh:
        for graph, status in (("talking", "RUN_STATUS_SUCCESS"), ("failing", "RUN_STATUS_ERROR")):
            invoice_id = await mesh.create_invoice()
            run = await mesh.create(graph, {"invoice_id": invoice_id, "amount": 1}, webhook_url=receiver.url)
            await mesh.wait(run)
            await eventually(partial(is_delivered, mesh, run))
            [request] = receiver.received
            assert is_signed(request)
            assert request.event["type"] == "run.ended"
            ended = await mesh.client.get_run(run.run_id)
            assert (request.event["data"], request.event["data"]["status"]) == (
                json_format.MessageToDict(ended),
                status,
            )
            retry = pb.RetryDeliveryRequest(delivery_id=request.id)
            unchanged = await mesh.call(pb.WebhookService.RetryDelivery, retry)
            assert unchanged.delivery == await delivery_of(mesh, run)
            receiver.received.clear()


async def test_hosts_that_are_not_allowed_are_refused(tmp_path: Path) -> None:
    """By default none is allowed. No run is stored."""
    async with receive_webhooks() as receiver, serve_mesh(tmp_path) as mesh:
        for url in (receiver.url, "https://hooks.example.com/"):
            with pytest.raises(WebhookNotAllowed):
                await mesh.create("talking", {"invoice_id": "in_1", "amount": 1}, webhook_url=url)
        assert not (await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest())).runs


async def test_deliveries_go_through_the_way_out_of_the_mesh(tmp_path: Path) -> None:
    """An allowed receiver that mesh.yaml does not list gets nothing, and the stored error states the key to change."""
    url = f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"
    async with (
        open_database(url, MIGRATIONS) as database,
        receive_webhooks() as receiver,
        receive_webhooks() as unlisted,
        Names({}).serving() as names,
    ):
        mesh = egress_mesh(names, orchestrator={"hosts": [receiver.host]})
        for number, one in enumerate((receiver, unlisted)):
            await add_ended_run(database, number, one)
        async with running_envoy(mesh, tmp_path):
            egress = f"http://{mesh.egress_listeners['orchestrator'].target}"
            async with dispatching(database, receiver, unlisted, max_attempts=1, egress=egress) as store:
                await until_found(store, DeliveryStatus.DELIVERED)
                await until_found(store, DeliveryStatus.DEAD)
                [dead] = await find_deliveries(store, DeliveryStatus.DEAD)
        key = "egress.workloads.orchestrator.hosts of mesh.yaml"
        assert dead.last_error == f"The proxy of orchestrator refuses {unlisted.host}: it is not in {key}"
        assert is_signed(receiver.received[0])
        assert not unlisted.received


async def test_host_that_is_no_longer_allowed_is_not_called(postgres_url: str) -> None:
    """The hosts that are allowed at delivery count. The stored error does not have the address."""
    async with open_database(postgres_url, MIGRATIONS) as database, receive_webhooks() as receiver:
        await add_ended_run(database, 1, receiver)
        async with dispatching(database, max_attempts=1) as store:
            await until_found(store, DeliveryStatus.DEAD)
            [dead] = await find_deliveries(store, DeliveryStatus.DEAD)
        assert "may not be called" in dead.last_error
        assert ("hidden" in dead.last_error, receiver.received) == (False, [])


async def test_delivery_is_retried_until_the_receiver_accepts_it(postgres_url: str) -> None:
    """A redirect counts as a failure, and is not followed. Each attempt has the same id and body."""
    responses = ["500 Oops", "302 Found\r\nlocation: http://127.0.0.1:1/"]
    async with open_database(postgres_url, MIGRATIONS) as database, receive_webhooks(responses=responses) as receiver:
        delivery = await add_ended_run(database, 1, receiver)
        async with dispatching(database, receiver) as store:
            await until_found(store, DeliveryStatus.DELIVERED)
            [delivered] = await find_deliveries(store, DeliveryStatus.DELIVERED)
    assert (delivered.attempts, delivered.last_error) == (3, "")
    first = receiver.received[0]
    assert {(request.id, request.body) for request in receiver.received} == {(delivery.delivery_id, first.body)}
    assert all(is_signed(request) for request in receiver.received)


async def test_dead_delivery_can_be_retried(postgres_url: str) -> None:
    async with (
        open_database(postgres_url, MIGRATIONS) as database,
        receive_webhooks(responses=["503 No"] * 2) as receiver,
    ):
        await add_ended_run(database, 1, receiver)
        async with dispatching(database, receiver, max_attempts=2) as store:
            await until_found(store, DeliveryStatus.DEAD)
            [dead] = await find_deliveries(store, DeliveryStatus.DEAD)
            assert (dead.attempts, dead.last_error) == (2, "HTTP 503")
            await store.retry("acme", dead.delivery_id)
            await until_found(store, DeliveryStatus.DELIVERED)
    assert len(receiver.received) == 3


async def test_two_dispatchers_deliver_once(postgres_url: str) -> None:
    async with (
        open_database(postgres_url, MIGRATIONS) as database,
        open_database(postgres_url) as another,
        receive_webhooks() as receiver,
    ):
        for number in range(40):
            await add_ended_run(database, number, receiver)
        async with dispatching(database, receiver) as store, dispatching(another, receiver):
            await until_found(store, DeliveryStatus.DELIVERED, 40)
    assert set(Counter(request.id for request in receiver.received).values()) == {1}


async def test_silent_receiver_does_not_delay_others(postgres_url: str) -> None:
    """It has more deliveries than can be in progress at a time, all older than the other receiver's."""
    async with (
        open_database(postgres_url, MIGRATIONS) as database,
        receive_webhooks(is_silent=True) as silent,
        receive_webhooks() as receiver,
    ):
        for number in range(200):
            await add_ended_run(database, number, silent)
        await add_ended_run(database, 200, receiver)
        async with dispatching(database, silent, receiver) as store:
            await until_found(store, DeliveryStatus.DELIVERED)
        assert (len(receiver.received), len(silent.received) < 2 * MAX_PER_HOST) == (1, True)
