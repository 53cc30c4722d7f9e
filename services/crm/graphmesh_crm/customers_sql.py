"""The customers in SQL, for SQLite and PostgreSQL."""

from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_chassis.search_keys import search_key
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_crm.customers import Position, searchable_text
from graphmesh_crm.domain import Change, Customer, Profile, Record, Tier

metadata = sa.MetaData()

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("customer_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("phone", sa.String(50), nullable=False),
    sa.Column("company", sa.String(200), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("locale", sa.String(35), nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("searched", sa.Text, nullable=False),
    sa.Column("email_key", sa.Text, nullable=False),
    sa.Index("customers_by_age", "tenant", "created", "customer_id"),
    sa.Index("customers_by_email", "tenant", "email_key"),
)
changes = sa.Table(
    "changes",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("customer_id", sa.String(64), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("field", sa.String(80), primary_key=True),
    sa.Column("old", sa.String(500), nullable=False),
    sa.Column("new", sa.String(500), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("changed", UtcDateTime, nullable=False),
)
records = sa.Table(
    "records",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("record_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("title", sa.String(500), nullable=False),
    sa.Column("status", sa.String(50), nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("occurred", UtcDateTime, nullable=False),
    sa.Index("records_by_customer", "tenant", "customer_id", "occurred", "record_id"),
)


class SqlCustomers:
    """Customers of one tenant, or one of them, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant: str, customer: str = "") -> None:
        """With `customer`, others are not found, nor what is stored of them."""
        self._connection = connection
        self._tenant, self._customer = tenant, customer

    async def customer(self, customer_id: str, *, for_update: bool = False) -> Customer:
        query = sa.select(customers).where(*self._by_id(customer_id))
        row = (await self._connection.execute(query.with_for_update() if for_update else query)).one_or_none()
        if row is None:
            raise NotFound(resource="customer", id=customer_id)
        return _customer(row)

    async def search(self, text: str, email: str, before: Position | None, limit: int) -> list[Customer]:
        query = sa.select(customers).where(*self._own(customers))
        if text:
            query = query.where(customers.c.searched.contains(search_key(text), autoescape=True))
        if email:
            query = query.where(customers.c.email_key == search_key(email))
        query = keyset_page(query, (customers.c.created, customers.c.customer_id), before, limit, descending=True)
        return [_customer(row) for row in await self._connection.execute(query)]

    async def changes(self, customer_id: str, before: tuple[int, str] | None, limit: int) -> list[Change]:
        query = sa.select(changes).where(*self._own(changes), changes.c.customer_id == customer_id)
        query = keyset_page(query, (changes.c.version, changes.c.field), before, limit, descending=True)
        return [_change(row) for row in await self._connection.execute(query)]

    async def records(self, customer_id: str, kind: str, before: Position | None, limit: int) -> list[Record]:
        query = sa.select(records).where(*self._own(records), records.c.customer_id == customer_id)
        if kind:
            query = query.where(records.c.kind == kind)
        query = keyset_page(query, (records.c.occurred, records.c.record_id), before, limit, descending=True)
        return [_record(row) for row in await self._connection.execute(query)]

    async def add_customer(self, customer: Customer) -> None:
        try:
            await self._insert(
                customers, customer_id=customer.customer_id, created=customer.created, **_updatable(customer)
            )
        except IntegrityError as error:
            raise AlreadyExists(resource="customer", id=customer.customer_id) from error

    async def add_record(self, record: Record) -> None:
        try:
            await self._insert(records, **vars(record))
        except IntegrityError as error:
            raise AlreadyExists(resource="record", id=record.record_id) from error

    async def update_customer(self, customer: Customer, new_changes: tuple[Change, ...]) -> None:
        update = sa.update(customers).where(*self._by_id(customer.customer_id)).values(_updatable(customer))
        await self._connection.execute(update)
        for change in new_changes:
            await self._insert(changes, **vars(change))

    def _by_id(self, customer_id: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (*self._own(customers), customers.c.customer_id == customer_id)

    def _own(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        of_tenant = table.c.tenant == self._tenant
        return (of_tenant, table.c.customer_id == self._customer) if self._customer else (of_tenant,)

    async def _insert(self, table: sa.Table, **values: Any) -> None:
        await self._connection.execute(sa.insert(table).values(tenant=self._tenant, **values))


def _updatable(customer: Customer) -> dict[str, Any]:
    """The columns that an update changes."""
    return {
        **vars(customer.profile),
        "version": customer.version,
        "updated": customer.updated,
        "searched": searchable_text(customer.profile),
        "email_key": search_key(customer.profile.email),
    }


def _customer(row: sa.Row[Any]) -> Customer:
    profile = Profile(row.name, row.email, row.phone, row.company, Tier(row.tier), row.locale, row.attributes)
    return Customer(row.customer_id, profile, row.version, row.created, row.updated)


def _change(row: sa.Row[Any]) -> Change:
    return Change(row.customer_id, row.version, row.field, row.old, row.new, row.reason, row.author, row.changed)


def _record(row: sa.Row[Any]) -> Record:
    return Record(row.customer_id, row.kind, row.record_id, row.title, row.status, row.attributes, row.occurred)
