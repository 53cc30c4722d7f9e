"""The use cases of the CRM that change something."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from graphmesh_chassis.errors import VersionMismatch

from graphmesh_crm import domain
from graphmesh_crm.customers import Customers
from graphmesh_crm.domain import Change, Customer, Profile, Record, Values


async def enrol(customers: Customers, customer_id: str, profile: Profile) -> Customer:
    """Store a new customer. Raises AlreadyExists."""
    customer = domain.enrol(customer_id or _new_id("cu"), profile, datetime.now(UTC))
    await customers.add_customer(customer)
    return customer


async def revise(
    customers: Customers, customer_id: str, values: Values, *, expected_version: int, reason: str, author: str
) -> tuple[Customer, tuple[Change, ...]]:
    """Change a customer; an `expected_version` of 0 expects none. Raises NotFound, VersionMismatch."""
    before = await customers.customer(customer_id, hold=True)
    if expected_version and expected_version != before.version:
        raise VersionMismatch(resource="customer", id=customer_id, expected=expected_version, actual=before.version)
    after, changes = domain.revise(before, values, reason=reason, author=author, now=datetime.now(UTC))
    if changes:
        await customers.change_customer(after, changes)
    return after, changes


async def note(customers: Customers, record: Record) -> Record:
    """Add a record to a customer. Raises NotFound, AlreadyExists."""
    await customers.customer(record.customer_id)
    record = replace(record, record_id=record.record_id or _new_id("rec"))
    await customers.add_record(record)
    return record


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"
