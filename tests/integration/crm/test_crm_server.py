"""The CRM as a caller meets it: a real server with every hook, on SQLite and PostgreSQL (F5)."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.crm import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import (
    AlreadyExists,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    ScopeMissing,
    VersionMismatch,
)
from graphmesh_chassis.testing import running
from graphmesh_contracts import Rpc
from graphmesh_crm.__main__ import build
from graphmesh_crm.settings import Settings

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Crm = pb.CrmService

MIRA = pb.CreateCustomerRequest(
    customer_id="cu_1",
    name="Mira Odenwald",
    email="mira@example.com",
    tier=pb.CustomerTier.CUSTOMER_TIER_PLUS,
    locale="de-DE",
    attributes={"city": "Freiburg", "nothing": ""},
)
FAR_AWAY = Timestamp(seconds=1 << 50)


class Desk:
    """A colleague with a connection: a new effect key for each call that does not give one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._keys = (f"key-{number}" for number in count())

    async def __call__(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, key: str | None = None, **headers: str
    ) -> ResponseT:
        named = {f"x-graphmesh-{name}": value for name, value in headers.items()}
        named["idempotency-key"] = next(self._keys) if key is None else key
        return await self._channel.unary(rpc, request, timeout=10, headers=list(named.items()))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/crm.db"


@pytest_asyncio.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    settings = Settings(database_url=url)
    async with build(settings) as servable, running(servable, settings) as served:
        yield Desk(served.channel)


def update(fields: pb.CustomerUpdate, *paths: str, expected_version: int = 0) -> pb.UpdateCustomerRequest:
    return pb.UpdateCustomerRequest(
        customer_id="cu_1",
        customer=fields,
        update_mask=FieldMask(paths=paths),
        expected_version=expected_version,
        reason="asked by telephone",
    )


async def test_a_customer_is_created_read_and_found(desk: Desk) -> None:
    """An attribute without a value is not kept."""
    created = (await desk(Crm.CreateCustomer, MIRA)).customer
    assert (created.name, created.version, dict(created.attributes)) == ("Mira Odenwald", 1, {"city": "Freiburg"})
    assert (await desk(Crm.GetCustomer, pb.GetCustomerRequest(customer_id="cu_1"))).customer == created
    assert (await desk(Crm.SearchCustomers, pb.SearchCustomersRequest(text="ODENWALD"))).customers == [created]
    with pytest.raises(AlreadyExists):
        await desk(Crm.CreateCustomer, MIRA)


async def test_an_email_address_may_be_of_any_alphabet(desk: Desk) -> None:
    """RFC 6531; what is no address at all is refused."""
    created = await desk(Crm.CreateCustomer, pb.CreateCustomerRequest(name="S", email="stanisław.wójcik@example.com"))
    found = await desk(Crm.SearchCustomers, pb.SearchCustomersRequest(email="STANISŁAW.Wójcik@example.com"))
    assert found.customers == [created.customer]
    for email in ("@", "a@", "a b@example.com", "a@b@c", "a\0@example.com", "a@example.com\n"):
        with pytest.raises(InvalidRequest):
            await desk(Crm.CreateCustomer, pb.CreateCustomerRequest(name="S", email=email))


async def test_a_customer_without_an_id_gets_one(desk: Desk) -> None:
    created = (await desk(Crm.CreateCustomer, pb.CreateCustomerRequest(name="Nobody"))).customer
    assert created.customer_id.startswith("cu_")
    assert created.tier == pb.CustomerTier.CUSTOMER_TIER_STANDARD


async def test_an_update_takes_what_its_mask_names_and_is_told_in_the_history(desk: Desk) -> None:
    """Who is the caller's subject; what the mask does not name stays, though the request has a value for it."""
    await desk(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(phone="+49 1", company="ignored"), "phone", expected_version=1)
    response = await desk(Crm.UpdateCustomer, request, subject="ana")
    assert (response.customer.phone, response.customer.company, response.customer.version) == ("+49 1", "", 2)
    history = await desk(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"))
    assert history.changes == response.changes
    [change] = history.changes
    assert (change.field, change.old_value, change.new_value) == ("phone", "", "+49 1")
    assert (change.author, change.reason, change.version) == ("ana", "asked by telephone", 2)


async def test_an_update_on_an_old_version_is_refused(desk: Desk) -> None:
    """And so is its repeat, though the version fits by then."""
    await desk(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(phone="2"), "phone", expected_version=2)
    with pytest.raises(VersionMismatch) as refused:
        await desk(Crm.UpdateCustomer, request, "k1")
    assert refused.value.data == {"resource": "customer", "id": "cu_1", "expected": "2", "actual": "1"}
    await desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"))
    with pytest.raises(VersionMismatch):
        await desk(Crm.UpdateCustomer, request, "k1")


async def test_of_updates_on_one_version_a_single_one_wins(desk: Desk) -> None:
    """However close together they come: nobody overwrites what they have not seen."""
    await desk(Crm.CreateCustomer, MIRA)

    async def attempt(number: int) -> bool:
        try:
            await desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone=str(number)), "phone", expected_version=1))
        except VersionMismatch:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(1, 11)))) == 1
    history = await desk(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"))
    assert len(history.changes) == 1


async def test_a_repeat_gets_the_first_answer_and_changes_nothing(desk: Desk) -> None:
    """E2: ten at once with one key make one version; the key with another request is refused."""
    await desk(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(attributes={"city": "Basel"}), "attributes")
    responses = await asyncio.gather(*(desk(Crm.UpdateCustomer, request, "k1") for _ in range(10)))
    assert all(response == responses[0] for response in responses)
    assert responses[0].customer.version == 2
    with pytest.raises(IdempotencyKeyReused):
        await desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"), "k1")
    with pytest.raises(IdempotencyKeyRequired):
        await desk(Crm.UpdateCustomer, request, "")


async def test_values_as_stored_change_nothing(desk: Desk) -> None:
    await desk(Crm.CreateCustomer, MIRA)
    response = await desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(name="Mira Odenwald"), "name"))
    assert (response.customer.version, list(response.changes)) == (1, [])


async def test_records_are_added_and_listed_newest_first(desk: Desk) -> None:
    await desk(Crm.CreateCustomer, MIRA)
    for number, seconds in ((1, 100), (2, 300), (3, 200)):
        record = pb.AddRecordRequest(
            customer_id="cu_1",
            kind="order",
            record_id=f"TT-{number}",
            title="A pen",
            occur_time=Timestamp(seconds=seconds),
        )
        await desk(Crm.AddRecord, record)
    call = await desk(Crm.AddRecord, pb.AddRecordRequest(customer_id="cu_1", kind="call", title="Asked for ink"))
    assert call.record.record_id.startswith("rec_")
    listed = await desk(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", kind="order"))
    assert [record.record_id for record in listed.records] == ["TT-2", "TT-3", "TT-1"]
    first = await desk(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", page_size=3))
    assert [record.record_id for record in first.records] == [call.record.record_id, "TT-2", "TT-3"]
    token = first.next_page_token
    last = await desk(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", page_size=3, page_token=token))
    assert ([record.record_id for record in last.records], last.next_page_token) == (["TT-1"], "")


async def test_pages_of_a_search_end(desk: Desk) -> None:
    for number in range(5):
        await desk(Crm.CreateCustomer, pb.CreateCustomerRequest(customer_id=f"cu_{number}", name="Mira"))
    token, ids = "", list[str]()
    for _ in range(3):
        page = await desk(Crm.SearchCustomers, pb.SearchCustomersRequest(text="mira", page_size=2, page_token=token))
        ids += [customer.customer_id for customer in page.customers]
        token = page.next_page_token
    assert (ids, token) == ([f"cu_{number}" for number in (4, 3, 2, 1, 0)], "")


async def test_a_tenant_sees_only_its_own(desk: Desk) -> None:
    """Another tenant's customer is not found, not listed and not changed."""
    await desk(Crm.CreateCustomer, MIRA, tenant="acme")
    for call in (
        desk(Crm.GetCustomer, pb.GetCustomerRequest(customer_id="cu_1"), tenant="globex"),
        desk(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1"), tenant="globex"),
        desk(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"), tenant="globex"),
        desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"), tenant="globex"),
        desk(Crm.AddRecord, pb.AddRecordRequest(customer_id="cu_1", kind="call", title="x"), tenant="globex"),
    ):
        with pytest.raises(NotFound):
            await call
    assert not (await desk(Crm.SearchCustomers, pb.SearchCustomersRequest(), tenant="globex")).customers


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.UpdateCustomerRequest(), {"customer_id", "customer", "update_mask", "reason"}),
        (update(pb.CustomerUpdate(), "version", expected_version=-1), {"update_mask", "expected_version"}),
        (
            update(pb.CustomerUpdate(email="no address", tier=cast(Any, 9))),
            {"customer.email", "customer.tier", "update_mask"},
        ),
    ],
)
async def test_a_refusal_names_every_bad_field(
    desk: Desk, request_: pb.UpdateCustomerRequest, fields: set[str]
) -> None:
    """A3."""
    with pytest.raises(InvalidRequest) as refused:
        await desk(Crm.UpdateCustomer, request_)
    assert {violation.field for violation in refused.value.violations} == fields


async def test_a_name_may_not_become_empty(desk: Desk) -> None:
    with pytest.raises(InvalidRequest, match=r"customer\.name must not be empty"):
        await desk(Crm.UpdateCustomer, update(pb.CustomerUpdate(), "name"))


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        (Crm.CreateCustomer, pb.CreateCustomerRequest(name="a\0b")),
        (Crm.SearchCustomers, pb.SearchCustomersRequest(text="\0")),
        (Crm.SearchCustomers, pb.SearchCustomersRequest(page_token="no token")),
        (
            Crm.AddRecord,
            pb.AddRecordRequest(kind="k", customer_id="cu_1", title="x", occur_time=Timestamp(seconds=1 << 50)),
        ),
    ],
)
async def test_what_a_database_cannot_hold_is_the_callers_error(
    desk: Desk, rpc: Rpc[Message, Message], request_: Message
) -> None:
    with pytest.raises(InvalidRequest):
        await desk(rpc, request_)


async def test_writing_needs_its_scope(desk: Desk) -> None:
    with pytest.raises(ScopeMissing) as refused:
        await desk(Crm.CreateCustomer, MIRA, subject="ana", scopes="crm.read")
    assert refused.value.data["scopes"] == "crm.write"
