"""The ends of runs, announced to real servers (B3, G4)."""

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
from graphmesh_chassis.deadline import Deadline
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
from tests.integration.orchestrator.kit import Kit, billing_of, orchestrating
from tests.integration.orchestrator.receiver import Announced, Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def announcing(folder: Path, *hosts: str) -> AsyncIterator[Kit]:
    async with (
        billing_of(folder) as served,
        orchestrating(folder, served, webhook_hosts=hosts, webhook_secret=SECRET) as kit,
    ):
        yield kit


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.05)


async def delivery_of(kit: Kit, run: pb.Run) -> pb.Delivery:
    """As its run's tenant sees it."""
    request = pb.ListDeliveriesRequest(run_id=run.run_id)
    [delivery] = (
        await kit.channel.unary(pb.WebhookService.ListDeliveries, request, deadline=Deadline.after(30))
    ).deliveries
    return delivery


async def is_delivered(kit: Kit, run: pb.Run) -> bool:
    return (await delivery_of(kit, run)).status == pb.DeliveryStatus.DELIVERY_STATUS_DELIVERED


def verified(one: Announced) -> bool:
    """As a receiver verifies it, who has nothing but the standard and the secret."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = f"{one.id}.{one.headers['webhook-timestamp']}.".encode() + one.body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return one.headers["webhook-signature"] == f"v1,{signature}"


@asynccontextmanager
async def dispatching(database: Database, *receivers: Receiver, most: int = 5) -> AsyncIterator[SqlDeliveries]:
    """A dispatcher that waits for a moment between its tries."""
    store, patterns = SqlDeliveries(database), HostPatterns([receiver.host for receiver in receivers])
    policy, allowed = RetryPolicy(most, first_backoff=0.01), Receivers(patterns, secret_bytes(SECRET))
    timer = PollTimer(Notifier(is_alone=False))
    task = asyncio.create_task(Dispatcher(store, SqlRuns(database), allowed, policy, timer).run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(database: Database, number: int, receiver: Receiver) -> Delivery:
    """A run that has ended, and what is to be told of it."""
    output = {"notes": ["é"]}
    over = a_run(f"run_{number}", status=RunStatus.SUCCESS, output=output, ended=NOW, webhook_url=receiver.url)
    await SqlRuns(database).add(over, worker="")
    delivery = announcement(over)
    async with database.transaction() as connection:
        await connection.execute(sa.insert(deliveries).values(delivery_row(delivery)))
    return delivery


async def found(store: SqlDeliveries, status: DeliveryStatus) -> Sequence[Delivery]:
    return await store.find("acme", {"status": status}, None, 500)


async def test_the_end_is_announced_and_signed(tmp_path: Path) -> None:
    """Whatever the end; what comes is the run as GetRun gives it."""
    async with receiving() as receiver, announcing(tmp_path, receiver.host) as kit:
        for graph, status in (("talking", "RUN_STATUS_SUCCESS"), ("failing", "RUN_STATUS_ERROR")):
            invoice = await kit.invoice()
            run = await kit.create(graph, {"invoice_id": invoice, "amount": 1}, webhook_url=receiver.url)
            await kit.stopped(run.run_id)
            await eventually(partial(is_delivered, kit, run))
            [one] = receiver.came
            assert verified(one)
            assert one.event["type"] == "run.ended"
            ended = await kit.client.get_run(run.run_id)
            assert (one.event["data"], one.event["data"]["status"]) == (json_format.MessageToDict(ended), status)
            again = pb.RetryDeliveryRequest(delivery_id=one.id)
            same = await kit.channel.unary(pb.WebhookService.RetryDelivery, again, deadline=Deadline.after(30))
            assert same.delivery == await delivery_of(kit, run)
            receiver.came.clear()


async def test_only_hosts_that_are_allowed(tmp_path: Path, kit: Kit) -> None:
    """None is at first; and nothing is stored of a run that is refused."""
    async with receiving() as receiver:
        for url in (receiver.url, "https://hooks.example.com/"):
            with pytest.raises(WebhookNotAllowed):
                await kit.create("talking", {"invoice_id": "in_1", "amount": 1}, webhook_url=url)
    assert not list(
        (await kit.channel.unary(pb.RunService.ListRuns, pb.ListRunsRequest(), deadline=Deadline.after(30))).runs
    )


async def test_an_address_that_is_no_longer_allowed_is_not_called(postgres_url: str) -> None:
    """The hosts are those of now, not of when the run was taken; why is said without the address."""
    async with open_database(postgres_url, MIGRATIONS) as database, receiving() as receiver:
        await ended(database, 1, receiver)
        async with dispatching(database, most=1) as store:
            await eventually(lambda: _some(store, DeliveryStatus.DEAD))
            [dead] = await found(store, DeliveryStatus.DEAD)
        assert "may not be called" in dead.last_error
        assert ("hidden" in dead.last_error, receiver.came) == (False, [])


async def _some(store: SqlDeliveries, status: DeliveryStatus, number: int = 1) -> bool:
    return len(await found(store, status)) >= number


async def test_it_is_tried_until_somebody_answers(postgres_url: str) -> None:
    """A redirect is an answer like another, and not followed. Each try has the same id and body."""
    answers = ["500 Oops", "302 Found\r\nlocation: http://127.0.0.1:1/"]
    async with open_database(postgres_url, MIGRATIONS) as database, receiving(answers=answers) as receiver:
        delivery = await ended(database, 1, receiver)
        async with dispatching(database, receiver) as store:
            await eventually(lambda: _some(store, DeliveryStatus.DELIVERED))
            [done] = await found(store, DeliveryStatus.DELIVERED)
    assert (done.attempts, done.last_error) == (3, "")
    assert {(one.id, one.body) for one in receiver.came} == {(delivery.delivery_id, receiver.came[0].body)}
    assert all(verified(one) for one in receiver.came)


async def test_dead_letters_are_listed_and_tried_again(postgres_url: str) -> None:
    async with open_database(postgres_url, MIGRATIONS) as database, receiving(answers=["503 No"] * 2) as receiver:
        await ended(database, 1, receiver)
        async with dispatching(database, receiver, most=2) as store:
            await eventually(lambda: _some(store, DeliveryStatus.DEAD))
            [dead] = await found(store, DeliveryStatus.DEAD)
            assert (dead.attempts, dead.last_error) == (2, "HTTP 503")
            await store.retry("acme", dead.delivery_id)
            await eventually(lambda: _some(store, DeliveryStatus.DELIVERED))
    assert len(receiver.came) == 3


async def test_two_dispatchers_deliver_once(postgres_url: str) -> None:
    async with (
        open_database(postgres_url, MIGRATIONS) as database,
        open_database(postgres_url) as another,
        receiving() as receiver,
    ):
        for number in range(40):
            await ended(database, number, receiver)
        async with dispatching(database, receiver) as store, dispatching(another, receiver):
            await eventually(lambda: _some(store, DeliveryStatus.DELIVERED, 40))
    assert set(Counter(one.id for one in receiver.came).values()) == {1}


async def test_a_receiver_that_is_silent_blocks_no_other(postgres_url: str) -> None:
    """Far more is for the silent one than can be under way at a time, and all of it came first."""
    async with (
        open_database(postgres_url, MIGRATIONS) as database,
        receiving(silent=True) as silent,
        receiving() as receiver,
    ):
        for number in range(200):
            await ended(database, number, silent)
        await ended(database, 200, receiver)
        async with dispatching(database, silent, receiver) as store:
            await eventually(lambda: _some(store, DeliveryStatus.DELIVERED))
        assert (len(receiver.came), len(silent.came) < 2 * MAX_PER_HOST) == (1, True)
