"""The ledger in SQL, for SQLite and PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_contracts.money import Money
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_billing import refund_policy, rows
from graphmesh_billing.domain import Balance, Charge, CreditNote, Entry, Invoice, Kind, LineAmount, Refund
from graphmesh_billing.ledger import Owed, Period, StatementEntry
from graphmesh_billing.refund_policy import DEFAULT_POLICY, RefundPolicy, Scope, Subject, Used
from graphmesh_billing.tables import (
    charges,
    credit_notes,
    entries,
    invoices,
    postings,
    refund_lines,
    refund_policies,
    refunds,
)

PART: Final = 10**9
OWED = sa.case(
    *((entries.c.kind == kind, kind.sign * entries.c.amount) for kind in Kind if kind.sign), else_=sa.literal(0)
)
"""What an entry changes of what the customer owes."""


class SqlLedger:
    """Ledger of one tenant, or of one of its customers, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant: str, customer: str = "") -> None:
        """With `customer`, invoices and charges of others are not found."""
        self._connection = connection
        self._tenant, self._customer = tenant, customer

    @property
    def _is_sqlite(self) -> bool:
        return self._connection.dialect.name == "sqlite"

    async def now(self) -> datetime:
        """Unlike `now()`, `clock_timestamp()` is no time from before a wait for a lock. SQLite has this clock."""
        if self._is_sqlite:
            return datetime.now(UTC)
        now: datetime = (await self._connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        return now.astimezone(UTC)

    async def invoice(self, invoice_id: str, *, for_update: bool = False) -> Invoice:
        row = await self._one(invoices, "invoice", invoice_id, for_update)
        return rows.invoice(row, {} if for_update else await self._charge_ids([invoice_id]))

    async def charge(self, charge_id: str, *, for_update: bool = False) -> Charge:
        return rows.charge(await self._one(charges, "charge", charge_id, for_update))

    async def invoices(self, customer_id: str, before: tuple[datetime, str] | None, limit: int) -> list[Invoice]:
        query = self._select(invoices).where(invoices.c.customer_id == customer_id, *self._own(invoices))
        query = keyset_page(query, (invoices.c.issued, invoices.c.invoice_id), before, limit, descending=True)
        found = (await self._connection.execute(query)).all()
        charge_ids = await self._charge_ids([row.invoice_id for row in found])
        return [rows.invoice(row, charge_ids) for row in found]

    async def refunds(self, charge_id: str) -> list[Refund]:
        query = self._select(refunds).where(refunds.c.charge_id == charge_id)
        made = (await self._connection.execute(query.order_by(refunds.c.created, refunds.c.refund_id))).all()
        of_charge = refunds.c.charge_id == charge_id
        joined = refund_lines.join(
            refunds, sa.and_(refunds.c.tenant == refund_lines.c.tenant, refunds.c.refund_id == refund_lines.c.refund_id)
        )
        query = sa.select(refund_lines).select_from(joined).where(refunds.c.tenant == self._tenant, of_charge)
        lines: dict[str, list[LineAmount]] = {row.refund_id: [] for row in made}
        for row in await self._connection.execute(query.order_by(refund_lines.c.number)):
            lines[row.refund_id].append(LineAmount(row.line_id, row.quantity, row.amount, row.tax))
        return [rows.refund(row, tuple(lines[row.refund_id])) for row in made]

    async def credit_notes(self, invoice_id: str) -> list[CreditNote]:
        query = self._select(credit_notes).where(credit_notes.c.invoice_id == invoice_id)
        query = query.order_by(credit_notes.c.created, credit_notes.c.credit_note_id)
        return [rows.credit_note(row) for row in await self._connection.execute(query)]

    async def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold an advisory lock of the transaction. SQLite has one writer."""
        if not self._is_sqlite:
            key = sa.func.hashtextextended(f"graphmesh_billing/{self._tenant}/{name}", 0)
            lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
            await self._connection.execute(sa.select(lock(key)))

    async def refund_policy(self) -> RefundPolicy:
        query = self._select(refund_policies).order_by(refund_policies.c.version.desc()).limit(1)
        row = (await self._connection.execute(query)).one_or_none()
        return refund_policy.from_json(row.rules, row.version) if row is not None else DEFAULT_POLICY

    async def set_refund_policy(self, policy: RefundPolicy) -> None:
        rules, created = refund_policy.to_json(policy), await self.now()
        await self._insert(refund_policies, version=policy.version, rules=rules, created=created)

    async def used(self, subject: Subject, invoice_id: str, currency: str, since: datetime | None) -> Used:
        match subject.scope:
            case Scope.REFUND:
                return Used(0, 0)
            case Scope.LINE:
                table = refund_lines
                amount: sa.ColumnElement[int] = refund_lines.c.amount
                is_subject = sa.and_(refund_lines.c.invoice_id == invoice_id, refund_lines.c.line_id == subject.id)
            case _:
                table, column = refunds, refunds.c[f"{subject.scope}_id"]
                amount = sa.case((refunds.c.currency == currency, refunds.c.amount), else_=sa.literal(0))
                is_subject = column == subject.id
        query = sa.select(sa.func.count(), *_parts(amount)).select_from(table)
        query = query.where(table.c.tenant == self._tenant, is_subject)
        if since is not None:
            query = query.where(table.c.created > since)
        count, *parts = (await self._connection.execute(query)).one()
        return Used(count, *_sums(parts))

    async def is_approval_used(self, approval_id: str) -> bool:
        query = sa.select(sa.exists(self._select(refunds).where(refunds.c.approval_id == approval_id)))
        return bool((await self._connection.execute(query)).scalar_one())

    async def add_invoice(self, invoice: Invoice, entry: Entry) -> None:
        try:
            await self._insert(
                invoices,
                invoice_id=invoice.invoice_id,
                customer_id=invoice.customer_id,
                currency=invoice.total.currency,
                total=invoice.total.minor,
                issued=invoice.issued,
                **rows.changing_values(invoice),
            )
        except IntegrityError as error:
            raise AlreadyExists(resource="invoice", id=invoice.invoice_id) from error
        await self._post(entry)

    async def add_charge(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        await self._insert(
            charges,
            charge_id=charge.charge_id,
            invoice_id=charge.invoice_id,
            refunded=charge.refunded.minor,
            charged_back=charge.charged_back.minor,
            created=charge.created,
            **_amount(charge.amount),
        )
        await self._update_invoice(invoice)
        await self._post(entry)

    async def add_chargeback(self, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        await self._update_charge(charge)
        await self._update_invoice(invoice)
        await self._post(entry)

    async def add_refund(self, refund: Refund, charge: Charge, invoice: Invoice, entry: Entry) -> None:
        await self._insert(
            refunds,
            refund_id=refund.refund_id,
            charge_id=refund.charge_id,
            invoice_id=refund.invoice_id,
            customer_id=refund.customer_id,
            cause=refund.cause,
            policy_version=refund.policy_version,
            approval_id=refund.approval_id or None,
            policy_exception=refund.policy_exception,
            created=refund.created,
            **_amount(refund.amount),
        )
        common = {"refund_id": refund.refund_id, "invoice_id": refund.invoice_id, "created": refund.created}
        lines = [{**vars(line), **common, "number": number} for number, line in enumerate(refund.lines)]
        await self._connection.execute(sa.insert(refund_lines), [{**line, "tenant": self._tenant} for line in lines])
        await self.add_chargeback(charge, invoice, entry)

    async def add_credit_note(self, note: CreditNote, invoice: Invoice, entry: Entry) -> None:
        await self._insert(
            credit_notes,
            credit_note_id=note.credit_note_id,
            invoice_id=note.invoice_id,
            cause=note.cause,
            lines=[list(vars(line).values()) for line in note.lines],
            created=note.created,
            **_amount(note.amount),
        )
        await self._update_invoice(invoice)
        await self._post(entry)

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
        query = sa.select(*columns, *_parts(sides.c.debit), *_parts(sides.c.credit))
        found = await self._connection.execute(query.group_by(*columns).order_by(*columns))
        return [Balance(account, currency, *_sums(parts)) for account, currency, *parts in found]

    async def statement(self, period: Period, after: tuple[datetime, int] | None, limit: int) -> list[StatementEntry]:
        query = self._entries_of(period)
        if period.start is not None:
            query = query.where(entries.c.created >= period.start)
        query = keyset_page(query, (entries.c.created, entries.c.id), after, limit)
        return [rows.statement_entry(row) for row in await self._connection.execute(query)]

    async def owed(self, period: Period, after: tuple[datetime, int] | None) -> Owed:
        opening = sa.literal(0) if period.start is None else _owed_where(entries.c.created < period.start)
        before_page = opening
        if after is not None:
            position = sa.tuple_(sa.literal(after[0], entries.c.created.type), sa.literal(after[1], entries.c.id.type))
            before_page = _owed_where(sa.tuple_(entries.c.created, entries.c.id) <= position)
        parts = [part for amount in (opening, before_page, OWED) for part in _parts(amount)]
        row = (await self._connection.execute(self._entries_of(period).with_only_columns(*parts))).one()
        return Owed(*_sums(row))

    def _entries_of(self, period: Period) -> sa.Select[Any]:
        """The customer's entries before the end of the period."""
        query = self._select(entries).where(
            entries.c.customer_id == period.customer_id, entries.c.currency == period.currency, *self._own(entries)
        )
        return query if period.end is None else query.where(entries.c.created < period.end)

    def _select(self, table: sa.Table) -> sa.Select[Any]:
        return sa.select(table).where(table.c.tenant == self._tenant)

    async def _one(self, table: sa.Table, resource: str, key: str, for_update: bool) -> sa.Row[Any]:
        query = self._select(table).where(table.c[f"{resource}_id"] == key, *self._own(table))
        result = await self._connection.execute(query.with_for_update() if for_update else query)
        row: sa.Row[Any] | None = result.one_or_none()
        if row is None:
            raise NotFound(resource=resource, id=key)
        return row

    def _own(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        """The condition that a row is of the customer; a charge is of the customer of its invoice."""
        if not self._customer:
            return ()
        if table is not charges:
            return (table.c.customer_id == self._customer,)
        of_customer = invoices.c.tenant == self._tenant, invoices.c.customer_id == self._customer
        return (charges.c.invoice_id.in_(sa.select(invoices.c.invoice_id).where(*of_customer)),)

    async def _charge_ids(self, invoice_ids: list[str]) -> dict[str, tuple[str, ...]]:
        query = sa.select(charges.c.invoice_id, charges.c.charge_id).where(
            charges.c.tenant == self._tenant, charges.c.invoice_id.in_(invoice_ids)
        )
        found: dict[str, tuple[str, ...]] = {}
        for row in await self._connection.execute(query.order_by(charges.c.created, charges.c.charge_id)):
            found[row.invoice_id] = (*found.get(row.invoice_id, ()), row.charge_id)
        return found

    async def _update_invoice(self, invoice: Invoice) -> None:
        is_invoice = (invoices.c.tenant == self._tenant, invoices.c.invoice_id == invoice.invoice_id)
        await self._connection.execute(sa.update(invoices).where(*is_invoice).values(rows.changing_values(invoice)))

    async def _update_charge(self, charge: Charge) -> None:
        is_charge = (charges.c.tenant == self._tenant, charges.c.charge_id == charge.charge_id)
        values = {"refunded": charge.refunded.minor, "charged_back": charge.charged_back.minor}
        await self._connection.execute(sa.update(charges).where(*is_charge).values(values))

    async def _post(self, entry: Entry) -> None:
        common = {"reference": entry.reference, "created": entry.created}
        await self._insert(
            entries,
            kind=entry.kind,
            invoice_id=entry.invoice_id,
            customer_id=entry.customer_id,
            **common,
            **_amount(entry.amount),
        )
        values = {"tenant": self._tenant, "currency": entry.amount.currency, **common}
        await self._connection.execute(sa.insert(postings), [{**values, **vars(posting)} for posting in entry.postings])

    async def _insert(self, table: sa.Table, **values: Any) -> None:
        await self._connection.execute(sa.insert(table).values(tenant=self._tenant, **values))


def _parts(amount: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[Any], ...]:
    """The sum of amounts in two parts, for `_sums`: SQLite fails where a sum exceeds 64 bits."""
    return tuple(sa.func.coalesce(sa.func.sum(part), 0) for part in (amount // PART, amount % PART))


def _sums(parts: Sequence[Any]) -> list[int]:
    """The sums of which `parts` has two parts each."""
    return [int(high) * PART + int(low) for high, low in zip(parts[::2], parts[1::2], strict=True)]


def _owed_where(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    return sa.case((condition, OWED), else_=sa.literal(0))


def _amount(money: Money) -> dict[str, Any]:
    return {"currency": money.currency, "amount": money.minor}
