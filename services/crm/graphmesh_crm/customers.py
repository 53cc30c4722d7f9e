"""Port of the CRM, one tenant's customers with their changes and records, and its in-memory twin."""

from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.search_keys import search_key

from graphmesh_crm.domain import Change, Customer, Profile, Record

Position = tuple[datetime, str]
"""Sort key of a customer (created, id) or of a record (occurred, id)."""


class Customers(Protocol):
    """Customers of one tenant. Lists are newest first and start behind the sort key `before`."""

    async def customer(self, customer_id: str, *, for_update: bool = False) -> Customer:
        """Read a customer. With `for_update`, its row is locked until the transaction ends. Raises NotFound."""
        ...

    async def search(self, text: str, email: str, before: Position | None, limit: int) -> list[Customer]:
        """Find customers by text and email address; an empty one matches every customer."""
        ...

    async def changes(self, customer_id: str, before: tuple[int, str] | None, limit: int) -> list[Change]:
        """List the changes of a customer; the sort key is (version, field)."""
        ...

    async def records(self, customer_id: str, kind: str, before: Position | None, limit: int) -> list[Record]:
        """List the records of a customer; an empty `kind` matches every kind."""
        ...

    async def add_customer(self, customer: Customer) -> None:
        """Store a new customer. Raises AlreadyExists."""
        ...

    async def add_record(self, record: Record) -> None:
        """Store a new record. Raises AlreadyExists."""
        ...

    async def update_customer(self, customer: Customer, new_changes: tuple[Change, ...]) -> None:
        """Replace the stored customer, and append the new changes to its history."""
        ...


class MemoryCustomers:
    """Customers of one tenant in memory. Has no locks: `for_update` changes nothing."""

    def __init__(self) -> None:
        self._customers: dict[str, Customer] = {}
        self._changes: list[Change] = []
        self._records: dict[str, Record] = {}

    async def customer(self, customer_id: str, *, for_update: bool = False) -> Customer:
        if customer_id not in self._customers:
            raise NotFound(resource="customer", id=customer_id)
        return self._customers[customer_id]

    async def search(self, text: str, email: str, before: Position | None, limit: int) -> list[Customer]:
        found = [customer for customer in self._customers.values() if _matches(customer, text, email)]
        found.sort(key=_customer_key, reverse=True)
        return [customer for customer in found if before is None or _customer_key(customer) < before][:limit]

    async def changes(self, customer_id: str, before: tuple[int, str] | None, limit: int) -> list[Change]:
        found = [change for change in self._changes if change.customer_id == customer_id]
        found.sort(key=_change_key, reverse=True)
        return [change for change in found if before is None or _change_key(change) < before][:limit]

    async def records(self, customer_id: str, kind: str, before: Position | None, limit: int) -> list[Record]:
        found = [
            record
            for record in self._records.values()
            if record.customer_id == customer_id and (not kind or record.kind == kind)
        ]
        found.sort(key=_record_key, reverse=True)
        return [record for record in found if before is None or _record_key(record) < before][:limit]

    async def add_customer(self, customer: Customer) -> None:
        if customer.customer_id in self._customers:
            raise AlreadyExists(resource="customer", id=customer.customer_id)
        self._customers[customer.customer_id] = customer

    async def add_record(self, record: Record) -> None:
        if record.record_id in self._records:
            raise AlreadyExists(resource="record", id=record.record_id)
        self._records[record.record_id] = record

    async def update_customer(self, customer: Customer, new_changes: tuple[Change, ...]) -> None:
        self._customers[customer.customer_id] = customer
        self._changes.extend(new_changes)


def searchable_text(profile: Profile) -> str:
    """The text that a search covers, in the form of `search_key`."""
    return search_key(profile.name, profile.email, profile.company)


def _matches(customer: Customer, text: str, email: str) -> bool:
    has_email = not email or search_key(email) == search_key(customer.profile.email)
    return has_email and search_key(text) in searchable_text(customer.profile)


def _customer_key(customer: Customer) -> tuple[datetime, str]:
    return (customer.created, customer.customer_id)


def _change_key(change: Change) -> tuple[int, str]:
    return (change.version, change.field)


def _record_key(record: Record) -> tuple[datetime, str]:
    return (record.occurred, record.record_id)
