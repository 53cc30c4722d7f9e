"""The port of the CRM: one tenant's customers, changes and records; and its twin in memory."""

from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import AlreadyExists, NotFound

from graphmesh_crm.domain import Change, Customer, Record, search_key, searched

Position = tuple[datetime, str]
"""A place in a list: the time of a row, and its id."""


class Customers(Protocol):
    """Lists are newest first, and go on after the sort key `before`."""

    async def customer(self, customer_id: str, *, hold: bool = False) -> Customer:
        """The customer; held, nobody else changes it until the transaction ends. Raises NotFound."""
        ...

    async def search(self, text: str, email: str, before: Position | None, limit: int) -> list[Customer]:
        """The customers with this text and this email address, each of which may be empty; before (created, id)."""
        ...

    async def changes(self, customer_id: str, before: tuple[int, str] | None, limit: int) -> list[Change]:
        """The customer's changes; before (version, field)."""
        ...

    async def records(self, customer_id: str, kind: str, before: Position | None, limit: int) -> list[Record]:
        """The customer's records of this kind, of all where it is empty; before (occurred, id)."""
        ...

    async def add_customer(self, customer: Customer) -> None:
        """Raises AlreadyExists."""
        ...

    async def add_record(self, record: Record) -> None:
        """Raises AlreadyExists."""
        ...

    async def change_customer(self, customer: Customer, made: tuple[Change, ...]) -> None:
        """Put the customer in place of the stored one, and the changes made into the history."""
        ...


class MemoryCustomers:
    """The customers of one tenant in memory."""

    def __init__(self) -> None:
        self._customers: dict[str, Customer] = {}
        self._changes: list[Change] = []
        self._records: dict[str, Record] = {}

    async def customer(self, customer_id: str, *, hold: bool = False) -> Customer:
        if customer_id not in self._customers:
            raise NotFound(resource="customer", id=customer_id)
        return self._customers[customer_id]

    async def search(self, text: str, email: str, before: Position | None, limit: int) -> list[Customer]:
        found = [customer for customer in self._customers.values() if _matches(customer, text, email)]
        found.sort(key=_age, reverse=True)
        return [customer for customer in found if before is None or _age(customer) < before][:limit]

    async def changes(self, customer_id: str, before: tuple[int, str] | None, limit: int) -> list[Change]:
        found = [change for change in self._changes if change.customer_id == customer_id]
        found.sort(key=_step, reverse=True)
        return [change for change in found if before is None or _step(change) < before][:limit]

    async def records(self, customer_id: str, kind: str, before: Position | None, limit: int) -> list[Record]:
        found = [
            record
            for record in self._records.values()
            if record.customer_id == customer_id and (not kind or record.kind == kind)
        ]
        found.sort(key=_date, reverse=True)
        return [record for record in found if before is None or _date(record) < before][:limit]

    async def add_customer(self, customer: Customer) -> None:
        if customer.customer_id in self._customers:
            raise AlreadyExists(resource="customer", id=customer.customer_id)
        self._customers[customer.customer_id] = customer

    async def add_record(self, record: Record) -> None:
        if record.record_id in self._records:
            raise AlreadyExists(resource="record", id=record.record_id)
        self._records[record.record_id] = record

    async def change_customer(self, customer: Customer, made: tuple[Change, ...]) -> None:
        self._customers[customer.customer_id] = customer
        self._changes.extend(made)


def _matches(customer: Customer, text: str, email: str) -> bool:
    same_email = not email or search_key(email) == search_key(customer.profile.email)
    return same_email and search_key(text) in searched(customer.profile)


def _age(customer: Customer) -> tuple[datetime, str]:
    return (customer.created, customer.customer_id)


def _step(change: Change) -> tuple[int, str]:
    return (change.version, change.field)


def _date(record: Record) -> tuple[datetime, str]:
    return (record.occurred, record.record_id)
