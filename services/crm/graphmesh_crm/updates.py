"""Use cases of the CRM that write: create and update a customer, add a record."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from graphmesh_chassis.errors import VersionMismatch

from graphmesh_crm import domain
from graphmesh_crm.customers import Customers
from graphmesh_crm.domain import Change, Customer, Profile, ProfileUpdate, Record


async def create_customer(customers: Customers, customer_id: str, profile: Profile) -> Customer:
    """Store a new customer; an empty id is replaced by a generated one. Raises AlreadyExists."""
    customer = domain.new_customer(customer_id or _new_id("cu"), profile, datetime.now(UTC))
    await customers.add_customer(customer)
    return customer


async def update_customer(
    customers: Customers, customer_id: str, update: ProfileUpdate, *, expected_version: int, reason: str, author: str
) -> tuple[Customer, tuple[Change, ...]]:
    """Update a customer; an `expected_version` of 0 accepts any. Raises NotFound, VersionMismatch."""
    customer = await customers.customer(customer_id, for_update=True)
    if expected_version and expected_version != customer.version:
        raise VersionMismatch(resource="customer", id=customer_id, expected=expected_version, actual=customer.version)
    updated, changes = domain.apply_update(customer, update, reason=reason, author=author, now=datetime.now(UTC))
    if changes:
        await customers.update_customer(updated, changes)
    return updated, changes


async def add_record(customers: Customers, record: Record) -> Record:
    """Add a record to a customer; an empty id is replaced by a generated one. Raises NotFound, AlreadyExists."""
    await customers.customer(record.customer_id)
    record = replace(record, record_id=record.record_id or _new_id("rec"))
    await customers.add_record(record)
    return record


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"
