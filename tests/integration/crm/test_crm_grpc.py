"""The CRM as a plain synchronous gRPC client calls it: a generated stub, a real channel, the running service."""

from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from graphmesh.crm import v1 as pb
from graphmesh.crm.v1.crm_pb2_grpc import CrmServiceStub
from graphmesh_chassis.errors import (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    VersionMismatch,
)
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with, key
from graphmesh_crm.__main__ import build
from graphmesh_crm.settings import Settings


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('crm')}/crm.db"))


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[CrmServiceStub]:
    return CrmServiceStub


@pytest.fixture
def customer(grpc_stub: CrmServiceStub) -> pb.Customer:
    """A new customer, whose name is its own."""
    request = pb.CreateCustomerRequest(name=f"Mira {uuid4().hex}")
    return grpc_stub.CreateCustomer(request, timeout=TIMEOUT, metadata=key()).customer


def new_phone(customer: pb.Customer, phone: str = "+49 1", expected_version: int = 1) -> pb.UpdateCustomerRequest:
    return pb.UpdateCustomerRequest(
        customer_id=customer.customer_id,
        customer=pb.CustomerUpdate(phone=phone),
        update_mask=FieldMask(paths=["phone"]),
        expected_version=expected_version,
        reason="moved",
    )


def test_finds_a_stored_customer(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    request = pb.GetCustomerRequest(customer_id=customer.customer_id)
    assert grpc_stub.GetCustomer(request, timeout=TIMEOUT).customer == customer
    found = grpc_stub.SearchCustomers(pb.SearchCustomersRequest(text=customer.name), timeout=TIMEOUT)
    assert list(found.customers) == [customer]


def test_update_appears_in_the_history(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    updated = grpc_stub.UpdateCustomer(new_phone(customer), timeout=TIMEOUT, metadata=key())
    assert (updated.customer.phone, updated.customer.version) == ("+49 1", 2)
    request = pb.ListCustomerChangesRequest(customer_id=customer.customer_id)
    assert grpc_stub.ListCustomerChanges(request, timeout=TIMEOUT).changes == updated.changes


def test_repeated_key_returns_the_stored_response(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    """The repeat makes no version, and a trailer reports that the response is a stored one."""
    request, once = new_phone(customer, expected_version=0), key()
    first = grpc_stub.UpdateCustomer(request, timeout=TIMEOUT, metadata=once)
    repeated, call = grpc_stub.UpdateCustomer.with_call(request, timeout=TIMEOUT, metadata=once)
    assert repeated == first
    assert dict(call.trailing_metadata())["idempotency-replayed"] == "true"
    stored = grpc_stub.GetCustomer(pb.GetCustomerRequest(customer_id=customer.customer_id), timeout=TIMEOUT).customer
    assert stored.version == 2


def test_refuses_a_key_with_another_request(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    once = key()
    grpc_stub.UpdateCustomer(new_phone(customer), timeout=TIMEOUT, metadata=once)
    with fails_with(IdempotencyKeyReused):
        grpc_stub.UpdateCustomer(new_phone(customer, "+49 2"), timeout=TIMEOUT, metadata=once)


def test_refuses_an_effect_without_a_key(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    with fails_with(IdempotencyKeyRequired):
        grpc_stub.UpdateCustomer(new_phone(customer), timeout=TIMEOUT)


def test_reports_both_versions_of_a_mismatch(grpc_stub: CrmServiceStub, customer: pb.Customer) -> None:
    with fails_with(VersionMismatch) as info:
        grpc_stub.UpdateCustomer(new_phone(customer, expected_version=7), timeout=TIMEOUT, metadata=key())
    assert (info.metadata["expected"], info.metadata["actual"]) == ("7", "1")


def test_refuses_a_request_that_breaks_its_contract(grpc_stub: CrmServiceStub) -> None:
    with fails_with(InvalidRequest):
        grpc_stub.GetCustomer(pb.GetCustomerRequest(), timeout=TIMEOUT)


def test_reports_a_missing_customer(grpc_stub: CrmServiceStub) -> None:
    with fails_with(NotFound) as info:
        grpc_stub.GetCustomer(pb.GetCustomerRequest(customer_id="cu_missing"), timeout=TIMEOUT)
    assert dict(info.metadata) == {"resource": "customer", "id": "cu_missing"}
