"""The CRM over a real channel: a server with every hook, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.crm import v1 as pb
from graphmesh_chassis.errors import (
    AlreadyExists,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    ScopeMissing,
    VersionMismatch,
)
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_contracts import Rpc
from graphmesh_crm.__main__ import build
from graphmesh_crm.settings import Settings

from tests.integration.service_client import ServiceClient

Crm = pb.CrmService

MIRA = pb.CreateCustomerRequest(
    customer_id="cu_1",
    name="Mira Odenwald",
    email="mira@example.com",
    tier=pb.CustomerTier.CUSTOMER_TIER_PLUS,
    locale="de-DE",
    attributes={"city": "Freiburg", "nothing": ""},
)


@pytest_asyncio.fixture
async def crm(database_url: str) -> AsyncIterator[ServiceClient]:
    settings = Settings(database_url=SecretUrl(database_url))
    async with build(settings) as servable, running(servable, settings) as served:
        yield ServiceClient(served.channel)


def update(fields: pb.CustomerUpdate, *paths: str, expected_version: int = 0) -> pb.UpdateCustomerRequest:
    return pb.UpdateCustomerRequest(
        customer_id="cu_1",
        customer=fields,
        update_mask=FieldMask(paths=paths),
        expected_version=expected_version,
        reason="requested by telephone",
    )


async def test_creates_reads_and_finds_a_customer(crm: ServiceClient) -> None:
    """Attributes without a value are dropped."""
    created = (await crm(Crm.CreateCustomer, MIRA)).customer
    assert (created.name, created.version, dict(created.attributes)) == ("Mira Odenwald", 1, {"city": "Freiburg"})
    assert (await crm(Crm.GetCustomer, pb.GetCustomerRequest(customer_id="cu_1"))).customer == created
    assert (await crm(Crm.SearchCustomers, pb.SearchCustomersRequest(text="ODENWALD"))).customers == [created]
    with pytest.raises(AlreadyExists):
        await crm(Crm.CreateCustomer, MIRA)


async def test_accepts_email_addresses_of_any_alphabet(crm: ServiceClient) -> None:
    """RFC 6531 allows them. Malformed addresses are refused."""
    created = await crm(Crm.CreateCustomer, pb.CreateCustomerRequest(name="S", email="stanisław.wójcik@example.com"))
    found = await crm(Crm.SearchCustomers, pb.SearchCustomersRequest(email="STANISŁAW.Wójcik@example.com"))
    assert found.customers == [created.customer]
    for email in ("@", "a@", "a b@example.com", "a@b@c", "a\0@example.com", "a@example.com\n"):
        with pytest.raises(InvalidRequest):
            await crm(Crm.CreateCustomer, pb.CreateCustomerRequest(name="S", email=email))


async def test_generates_a_missing_customer_id(crm: ServiceClient) -> None:
    created = (await crm(Crm.CreateCustomer, pb.CreateCustomerRequest(name="No Id"))).customer
    assert created.customer_id.startswith("cu_")
    assert created.tier == pb.CustomerTier.CUSTOMER_TIER_STANDARD


async def test_update_sets_masked_fields_and_records_the_changes(crm: ServiceClient) -> None:
    """The author is the caller's subject. Fields outside of the mask stay, although the request sets them."""
    await crm(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(phone="+49 1", company="ignored"), "phone", expected_version=1)
    response = await crm(Crm.UpdateCustomer, request, subject="ana")
    assert (response.customer.phone, response.customer.company, response.customer.version) == ("+49 1", "", 2)
    history = await crm(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"))
    assert history.changes == response.changes
    [change] = history.changes
    assert (change.field, change.old_value, change.new_value) == ("phone", "", "+49 1")
    assert (change.author, change.reason, change.version) == ("ana", "requested by telephone", 2)


async def test_refuses_an_update_of_an_old_version(crm: ServiceClient) -> None:
    """A repeat of its key is refused too, although the version has become the expected one."""
    await crm(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(phone="2"), "phone", expected_version=2)
    with pytest.raises(VersionMismatch) as refused:
        await crm(Crm.UpdateCustomer, request, "k1")
    assert refused.value.data == {"resource": "customer", "id": "cu_1", "expected": "2", "actual": "1"}
    await crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"))
    with pytest.raises(VersionMismatch):
        await crm(Crm.UpdateCustomer, request, "k1")


async def test_one_of_concurrent_updates_of_a_version_succeeds(crm: ServiceClient) -> None:
    """The others are refused, so no update overwrites changes that its client has not read."""
    await crm(Crm.CreateCustomer, MIRA)

    async def attempt(number: int) -> bool:
        try:
            await crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone=str(number)), "phone", expected_version=1))
        except VersionMismatch:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(1, 11)))) == 1
    history = await crm(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"))
    assert len(history.changes) == 1


async def test_repeated_key_updates_once(crm: ServiceClient) -> None:
    """Ten concurrent calls with a key make one version. The key with another request, and no key, are refused."""
    await crm(Crm.CreateCustomer, MIRA)
    request = update(pb.CustomerUpdate(attributes={"city": "Basel"}), "attributes")
    responses = await asyncio.gather(*(crm(Crm.UpdateCustomer, request, "k1") for _ in range(10)))
    assert all(response == responses[0] for response in responses)
    assert responses[0].customer.version == 2
    with pytest.raises(IdempotencyKeyReused):
        await crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"), "k1")
    with pytest.raises(IdempotencyKeyRequired):
        await crm(Crm.UpdateCustomer, request, "")


async def test_update_with_stored_values_makes_no_version(crm: ServiceClient) -> None:
    await crm(Crm.CreateCustomer, MIRA)
    response = await crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(name="Mira Odenwald"), "name"))
    assert (response.customer.version, list(response.changes)) == (1, [])


async def test_lists_records_newest_first(crm: ServiceClient) -> None:
    await crm(Crm.CreateCustomer, MIRA)
    for number, seconds in ((1, 100), (2, 300), (3, 200)):
        record = pb.AddRecordRequest(
            customer_id="cu_1",
            kind="order",
            record_id=f"TT-{number}",
            title="A pen",
            occur_time=Timestamp(seconds=seconds),
        )
        await crm(Crm.AddRecord, record)
    call = await crm(Crm.AddRecord, pb.AddRecordRequest(customer_id="cu_1", kind="call", title="Wants ink"))
    assert call.record.record_id.startswith("rec_")
    listed = await crm(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", kind="order"))
    assert [record.record_id for record in listed.records] == ["TT-2", "TT-3", "TT-1"]
    first = await crm(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", page_size=3))
    assert [record.record_id for record in first.records] == [call.record.record_id, "TT-2", "TT-3"]
    token = first.next_page_token
    last = await crm(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1", page_size=3, page_token=token))
    assert ([record.record_id for record in last.records], last.next_page_token) == (["TT-1"], "")


async def test_search_pages_list_each_customer_once(crm: ServiceClient) -> None:
    for number in range(5):
        await crm(Crm.CreateCustomer, pb.CreateCustomerRequest(customer_id=f"cu_{number}", name="Mira"))
    token, ids = "", list[str]()
    for _ in range(3):
        page = await crm(Crm.SearchCustomers, pb.SearchCustomersRequest(text="mira", page_size=2, page_token=token))
        ids += [customer.customer_id for customer in page.customers]
        token = page.next_page_token
    assert (ids, token) == ([f"cu_{number}" for number in (4, 3, 2, 1, 0)], "")


async def test_isolates_tenants(crm: ServiceClient) -> None:
    """A customer of another tenant is neither found nor listed nor updated."""
    await crm(Crm.CreateCustomer, MIRA, tenant="acme")
    for call in (
        crm(Crm.GetCustomer, pb.GetCustomerRequest(customer_id="cu_1"), tenant="globex"),
        crm(Crm.ListRecords, pb.ListRecordsRequest(customer_id="cu_1"), tenant="globex"),
        crm(Crm.ListCustomerChanges, pb.ListCustomerChangesRequest(customer_id="cu_1"), tenant="globex"),
        crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(phone="1"), "phone"), tenant="globex"),
        crm(Crm.AddRecord, pb.AddRecordRequest(customer_id="cu_1", kind="call", title="x"), tenant="globex"),
    ):
        with pytest.raises(NotFound):
            await call
    assert not (await crm(Crm.SearchCustomers, pb.SearchCustomersRequest(), tenant="globex")).customers


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
async def test_names_every_invalid_field(
    crm: ServiceClient, request_: pb.UpdateCustomerRequest, fields: set[str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await crm(Crm.UpdateCustomer, request_)
    assert {violation.field for violation in refused.value.violations} == fields


async def test_refuses_an_empty_name(crm: ServiceClient) -> None:
    with pytest.raises(InvalidRequest, match=r"customer\.name must not be empty"):
        await crm(Crm.UpdateCustomer, update(pb.CustomerUpdate(), "name"))


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
async def test_refuses_values_that_a_database_cannot_store(
    crm: ServiceClient, rpc: Rpc[Message, Message], request_: Message
) -> None:
    with pytest.raises(InvalidRequest):
        await crm(rpc, request_)


async def test_requires_the_write_scope(crm: ServiceClient) -> None:
    with pytest.raises(ScopeMissing) as refused:
        await crm(Crm.CreateCustomer, MIRA, subject="ana", scopes="crm.read")
    assert refused.value.data["scopes"] == "crm.write"
