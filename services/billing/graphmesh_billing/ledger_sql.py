"""The ledger in SQL, for SQLite and PostgreSQL."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_billing.domain import Balance, Charge, Invoice, Line, Money, Posting, Refund

metadata = sa.MetaData()

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("invoice_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("lines", sa.JSON, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("outstanding", sa.BigInteger, nullable=False),
    sa.Column("issued", UtcDateTime, nullable=False),
    sa.CheckConstraint("outstanding >= 0 AND outstanding <= total", name="invoices_outstanding"),
    sa.Index("invoices_by_customer", "tenant", "customer_id", "issued", "invoice_id"),
)
charges = sa.Table(
    "charges",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("charge_id", sa.String(64), primary_key=True),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.CheckConstraint("refunded >= 0 AND refunded <= amount", name="charges_refunded"),
    sa.Index("charges_by_invoice", "tenant", "invoice_id", "created"),
)
refunds = sa.Table(
    "refunds",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("refund_id", sa.String(64), primary_key=True),
    sa.Column("charge_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(500), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("refunds_by_charge", "tenant", "charge_id", "created"),
)
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("debit", sa.String(32), nullable=False),
    sa.Column("credit", sa.String(32), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.String(64), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.CheckConstraint("amount > 0", name="postings_amount"),
    sa.Index("postings_by_tenant", "tenant"),
)


class SqlLedger:
    """Ledger of one tenant, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def invoice(self, invoice_id: str, *, for_update: bool = False) -> Invoice:
        row = await self._one(invoices, "invoice", invoice_id, for_update)
        return _invoice(row, await self._charge_ids([invoice_id]))

    async def charge(self, charge_id: str, *, for_update: bool = False) -> Charge:
        return _charge(await self._one(charges, "charge", charge_id, for_update))

    async def invoices(self, customer_id: str, before: tuple[datetime, str] | None, limit: int) -> list[Invoice]:
        query = sa.select(invoices).where(invoices.c.tenant == self._tenant, invoices.c.customer_id == customer_id)
        query = keyset_page(query, (invoices.c.issued, invoices.c.invoice_id), before, limit, descending=True)
        rows = (await self._connection.execute(query)).all()
        charge_ids = await self._charge_ids([row.invoice_id for row in rows])
        return [_invoice(row, charge_ids) for row in rows]

    async def refunds(self, charge_id: str) -> list[Refund]:
        query = sa.select(refunds).where(refunds.c.tenant == self._tenant, refunds.c.charge_id == charge_id)
        return [
            _refund(row)
            for row in await self._connection.execute(query.order_by(refunds.c.created, refunds.c.refund_id))
        ]

    async def add_invoice(self, invoice: Invoice, posting: Posting) -> None:
        try:
            await self._insert(
                invoices,
                invoice_id=invoice.invoice_id,
                customer_id=invoice.customer_id,
                currency=invoice.total.currency,
                lines=[[line.description, line.quantity, line.unit_price.minor] for line in invoice.lines],
                total=invoice.total.minor,
                outstanding=invoice.outstanding.minor,
                issued=invoice.issued,
            )
        except IntegrityError as error:
            raise AlreadyExists(resource="invoice", id=invoice.invoice_id) from error
        await self._post(posting)

    async def add_charge(self, charge: Charge, invoice: Invoice, posting: Posting) -> None:
        await self._insert(
            charges,
            charge_id=charge.charge_id,
            invoice_id=charge.invoice_id,
            refunded=charge.refunded.minor,
            created=charge.created,
            **_amount(charge.amount),
        )
        await self._connection.execute(
            sa.update(invoices)
            .where(invoices.c.tenant == self._tenant, invoices.c.invoice_id == invoice.invoice_id)
            .values(outstanding=invoice.outstanding.minor)
        )
        await self._post(posting)

    async def add_refund(self, refund: Refund, charge: Charge, posting: Posting) -> None:
        await self._insert(
            refunds,
            refund_id=refund.refund_id,
            charge_id=refund.charge_id,
            cause=refund.cause,
            created=refund.created,
            **_amount(refund.amount),
        )
        await self._connection.execute(
            sa.update(charges)
            .where(charges.c.tenant == self._tenant, charges.c.charge_id == charge.charge_id)
            .values(refunded=charge.refunded.minor)
        )
        await self._post(posting)

    async def balances(self) -> list[Balance]:
        """Count each posting twice: once on its debit account, once on its credit account."""
        zero = sa.literal(0)
        own = postings.c.tenant == self._tenant
        sides = sa.union_all(
            sa.select(
                postings.c.debit.label("account"),
                postings.c.currency,
                postings.c.amount.label("debit"),
                zero.label("credit"),
            ).where(own),
            sa.select(
                postings.c.credit.label("account"),
                postings.c.currency,
                zero.label("debit"),
                postings.c.amount.label("credit"),
            ).where(own),
        ).subquery()
        columns = (sides.c.account, sides.c.currency)
        sums = (sa.func.sum(sides.c.debit).label("debit"), sa.func.sum(sides.c.credit).label("credit"))
        query = sa.select(*columns, *sums).group_by(*columns).order_by(*columns)
        rows = await self._connection.execute(query)
        return [Balance(row.account, row.currency, int(row.debit), int(row.credit)) for row in rows]

    async def _one(self, table: sa.Table, resource: str, key: str, for_update: bool) -> sa.Row[Any]:
        query = sa.select(table).where(table.c.tenant == self._tenant, table.c[f"{resource}_id"] == key)
        row = (await self._connection.execute(query.with_for_update() if for_update else query)).one_or_none()
        if row is None:
            raise NotFound(resource=resource, id=key)
        return row

    async def _charge_ids(self, invoice_ids: list[str]) -> dict[str, tuple[str, ...]]:
        query = sa.select(charges.c.invoice_id, charges.c.charge_id).where(
            charges.c.tenant == self._tenant, charges.c.invoice_id.in_(invoice_ids)
        )
        found: dict[str, tuple[str, ...]] = {}
        for row in await self._connection.execute(query.order_by(charges.c.created, charges.c.charge_id)):
            found[row.invoice_id] = (*found.get(row.invoice_id, ()), row.charge_id)
        return found

    async def _post(self, posting: Posting) -> None:
        await self._insert(
            postings,
            debit=posting.debit,
            credit=posting.credit,
            reference=posting.reference,
            created=posting.created,
            **_amount(posting.amount),
        )

    async def _insert(self, table: sa.Table, **values: Any) -> None:
        await self._connection.execute(sa.insert(table).values(tenant=self._tenant, **values))


def _amount(money: Money) -> dict[str, Any]:
    return {"currency": money.currency, "amount": money.minor}


def _invoice(row: sa.Row[Any], charge_ids: dict[str, tuple[str, ...]]) -> Invoice:
    lines = tuple(Line(description, quantity, Money(row.currency, price)) for description, quantity, price in row.lines)
    return Invoice(
        row.invoice_id,
        row.customer_id,
        lines,
        Money(row.currency, row.total),
        Money(row.currency, row.outstanding),
        row.issued,
        charge_ids.get(row.invoice_id, ()),
    )


def _charge(row: sa.Row[Any]) -> Charge:
    amount, refunded = Money(row.currency, row.amount), Money(row.currency, row.refunded)
    return Charge(row.charge_id, row.invoice_id, amount, refunded, row.created)


def _refund(row: sa.Row[Any]) -> Refund:
    return Refund(row.refund_id, row.charge_id, Money(row.currency, row.amount), row.cause, row.created)
