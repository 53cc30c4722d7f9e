"""The accounts in SQL, for SQLite and PostgreSQL."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.database import Database, UtcDateTime, dialect_insert
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.keyset import keyset_page
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_model.accounting.admitting import payable, refusal
from graphmesh_model.accounting.budgets import Account, Balance, Clock, Need, utc_now
from graphmesh_model.accounting.ledger import (
    Reservation,
    Settlement,
    Subject,
    UsageFilter,
    UsageGroup,
    UsageTotal,
)
from graphmesh_model.accounting.totals import COUNTS, added, columns_of, total_from, total_of
from graphmesh_model.domain import Usage

log = structlog.get_logger()

POLL_SECONDS: Final = 0.25
"""Between two tries to reserve what other processes hold; settlements of this process are noticed at once."""
FLUSH_SECONDS: Final = 1.0
"""Between two writes of usage that costs nothing."""
MAX_BUFFERED: Final = 10_000
"""Sums that are kept between two writes; more are written at once."""
DIMENSIONS: Final = ("tenant", "day", "run", "alias", "model")

metadata = sa.MetaData()
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("run", sa.String(255), primary_key=True),
    sa.Column("alias", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(300), primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    sa.Index("usage_by_day", "day"),
    sa.Index("usage_by_run", "tenant", "run"),
)
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("budget", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(320), primary_key=True),
    sa.Column("begin", UtcDateTime, primary_key=True),
    sa.Column("spent_cost", sa.BigInteger, nullable=False),
    sa.Column("reserved_cost", sa.BigInteger, nullable=False),
    sa.Column("spent_tokens", sa.BigInteger, nullable=False),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
    sa.Column("used", UtcDateTime, nullable=False),
    sa.Index("accounts_by_use", "used"),
)
reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("run", sa.String(255), nullable=False),
    sa.Column("alias", sa.String(64), nullable=False),
    sa.Column("model", sa.String(300), nullable=False),
    sa.Column("begun", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
    sa.Column("priced", sa.Boolean, nullable=False),
    sa.Column("accounts", sa.JSON, nullable=False),
    sa.Index("reservations_by_expiry", "expires"),
)
SUMS = ("spent_cost", "reserved_cost", "spent_tokens", "reserved_tokens")
UNUSED = Settlement(Usage(0, 0), 0, failed=False)
Key = tuple[str, str, str, str, str]
"""The dimensions of a sum, in the order of DIMENSIONS."""


class SqlLedger:
    """The accounts in one database, which all replicas share."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database, self._clock = database, clock
        self._buffered: dict[Key, UsageTotal] = {}
        self._settled = asyncio.Event()

    async def reserve(self, reservation: Reservation) -> Need:
        while True:
            self._settled.clear()
            async with self._database.transaction() as connection:
                found = [(account, await _lock(connection, account, self._clock())) for account in reservation.accounts]
                if need := payable(reservation.need, found):
                    await _hold(connection, reservation, need)
                    return need
            await self.expire(self._clock())
            if reservation.wait_limit.remaining <= POLL_SECONDS:
                raise refusal(*found[0], reservation.need)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._settled.wait()

    async def settle(self, reservation: Reservation, settlement: Settlement | None) -> None:
        async with self._database.transaction() as connection:
            held = [reservations.c[name] for name in ("input_tokens", "output_tokens", "cost")]
            removed = sa.delete(reservations).where(reservations.c.id == reservation.id).returning(*held)
            row = (await connection.execute(removed)).one_or_none()
            if row is None:
                return
            keys = [(one.budget.name, one.key, one.begin) for one in reservation.accounts]
            await _release(connection, keys, row.input_tokens + row.output_tokens, row.cost, settlement or UNUSED)
            if settlement:
                await _add(connection, {_key(reservation.subject, reservation.begun): total_of(settlement)})
        self._settled.set()

    async def expire(self, now: datetime) -> None:
        """Settle the reservations of crashed processes, as if all that they hold had been used."""
        expired = sa.select(reservations).where(reservations.c.expires < now).order_by(reservations.c.expires).limit(1)
        while await self._database.rows(expired):  # one in a transaction, so that accounts are locked in one order
            async with self._database.transaction() as connection:
                row = (await connection.execute(expired.with_for_update(skip_locked=True))).one_or_none()
                if row is None:
                    return
                await connection.execute(sa.delete(reservations).where(reservations.c.id == row.id))
                used = Usage(row.input_tokens, row.output_tokens, estimated=True)
                settlement = Settlement(used, row.cost if row.priced else None, failed=True)
                keys = [(budget, holder, datetime.fromisoformat(begin)) for budget, holder, begin in row.accounts]
                await _release(connection, keys, row.input_tokens + row.output_tokens, row.cost, settlement)
                subject = Subject(row.tenant, row.run, row.alias, row.model)
                await _add(connection, {_key(subject, row.begun): total_of(settlement)})
            log.warning("an attempt of a crashed process is charged", alias=row.alias, cost_micro_usd=row.cost)
            self._settled.set()

    async def count(self, subject: Subject, at: datetime, settlement: Settlement, *, cache_hit: bool = False) -> None:
        key, total = _key(subject, at), total_of(settlement, cache_hit=cache_hit)
        self._buffered[key] = added([self._buffered[key], total]) if key in self._buffered else total
        if len(self._buffered) >= MAX_BUFFERED:
            await self.flush()

    async def flush(self) -> None:
        """Store the usage that `count` has collected."""
        if not self._buffered:
            return
        buffered, self._buffered = self._buffered, {}
        try:
            async with self._database.transaction() as connection:
                await _add(connection, buffered)
        except DatabaseUnavailable:
            for key, total in buffered.items():
                self._buffered[key] = added([total, self._buffered[key]]) if key in self._buffered else total
            raise

    async def maintain(self, keep_days: int) -> None:
        """Store counted usage, settle crashed reservations and delete old rows, until it is cancelled."""
        set_current(None)
        while True:
            try:
                await self.flush()
                now = self._clock()
                await self.expire(now)
                await self._prune(now - timedelta(days=keep_days))
            except DatabaseUnavailable as error:
                log.warning("accounts wait for the database", cause=str(error.__cause__).partition("\n")[0])
            await asyncio.sleep(FLUSH_SECONDS)

    async def _prune(self, before: datetime) -> None:
        day = before.date().isoformat()
        found = await self._database.rows(sa.select(usage.c.day).where(usage.c.day < day).limit(1))
        old = await self._database.rows(sa.select(accounts.c.used).where(accounts.c.used < before).limit(1))
        if found or old:
            async with self._database.transaction() as connection:
                await connection.execute(sa.delete(usage).where(usage.c.day < day))
                await connection.execute(sa.delete(accounts).where(accounts.c.used < before))

    async def usage(self, conditions: UsageFilter, after: tuple[str, ...] | None, limit: int) -> Sequence[UsageGroup]:
        await self.flush()
        dimensions = [usage.c[name] for name in conditions.group_by]
        sums = [sa.cast(sa.func.sum(usage.c[name]), sa.BigInteger).label(name) for name in COUNTS]
        query = sa.select(*dimensions, *sums).where(*_conditions(conditions)).group_by(*dimensions)
        if dimensions:
            query = keyset_page(query, dimensions, after, limit)
        rows = [row._mapping for row in await self._database.rows(query)]
        return [
            UsageGroup(total_from(row), **{name: row[name] for name in conditions.group_by})
            for row in rows
            if row["attempts"] is not None
        ]

    async def balances(self, accounts: Sequence[Account]) -> Sequence[Balance]:
        async with self._database.read() as connection:
            return [await _balance(connection, account) for account in accounts]


def _conditions(conditions: UsageFilter) -> list[sa.ColumnElement[bool]]:
    equal = {"tenant": conditions.tenant, "run": conditions.run, "alias": conditions.alias}
    found: list[sa.ColumnElement[bool]] = [usage.c[name] == value for name, value in equal.items() if value]
    if conditions.first_day:
        found.append(usage.c.day >= conditions.first_day)
    if conditions.last_day:
        found.append(usage.c.day <= conditions.last_day)
    return found


def _key(subject: Subject, at: datetime) -> Key:
    return subject.tenant, at.astimezone(UTC).date().isoformat(), subject.run, subject.alias, subject.model


async def _lock(connection: AsyncConnection, account: Account, now: datetime) -> Balance:
    """Return the sums of an account, whose row is locked until the transaction ends."""
    values = {"budget": account.budget.name, "holder": account.key, "begin": account.begin}
    statement = (
        dialect_insert(connection.dialect, accounts)
        .values(**values, **dict.fromkeys(SUMS, 0), used=now)
        .on_conflict_do_update(index_elements=["budget", "holder", "begin"], set_={"used": now})
        .returning(*(accounts.c[name] for name in SUMS))
    )
    return Balance(*(await connection.execute(statement)).one())


async def _balance(connection: AsyncConnection, account: Account) -> Balance:
    query = sa.select(*(accounts.c[name] for name in SUMS)).where(
        *_of_account((account.budget.name, account.key, account.begin))
    )
    row = (await connection.execute(query)).one_or_none()
    return Balance(*row) if row else Balance()


def _of_account(key: tuple[str, str, datetime]) -> tuple[sa.ColumnElement[bool], ...]:
    budget, holder, begin = key
    return (accounts.c.budget == budget, accounts.c.holder == holder, accounts.c.begin == begin)


async def _hold(connection: AsyncConnection, reservation: Reservation, need: Need) -> None:
    for account in reservation.accounts:
        await connection.execute(
            sa.update(accounts)
            .where(*_of_account((account.budget.name, account.key, account.begin)))
            .values(
                reserved_cost=accounts.c.reserved_cost + need.cost,
                reserved_tokens=accounts.c.reserved_tokens + need.tokens,
            )
        )
    keys = [(one.budget.name, one.key, one.begin.isoformat()) for one in reservation.accounts]
    values = vars(reservation.subject) | {"id": reservation.id, "begun": reservation.begun}
    values |= {"expires": reservation.expires, "input_tokens": need.input_tokens, "output_tokens": need.output_tokens}
    await connection.execute(
        sa.insert(reservations).values(**values, cost=need.cost, priced=reservation.priced, accounts=keys)
    )


async def _release(
    connection: AsyncConnection,
    keys: Sequence[tuple[str, str, datetime]],
    tokens: int,
    cost: int,
    settlement: Settlement,
) -> None:
    """Replace what was reserved in accounts by what was used. They are locked in the order that `reserve` has."""
    used = settlement.usage.input_tokens + settlement.usage.output_tokens
    for key in keys:
        await connection.execute(
            sa.update(accounts)
            .where(*_of_account(key))
            .values(
                reserved_cost=accounts.c.reserved_cost - cost,
                reserved_tokens=accounts.c.reserved_tokens - tokens,
                spent_cost=accounts.c.spent_cost + (settlement.cost or 0),
                spent_tokens=accounts.c.spent_tokens + used,
            )
        )


async def _add(connection: AsyncConnection, totals: Mapping[Key, UsageTotal]) -> None:
    for key, total in sorted(totals.items(), key=lambda item: item[0]):  # in one order, against deadlocks
        insert = dialect_insert(connection.dialect, usage)
        values: dict[str, Any] = dict(zip(DIMENSIONS, key, strict=True)) | columns_of(total)
        sums = {name: usage.c[name] + insert.excluded[name] for name in COUNTS}
        await connection.execute(
            insert.values(**values).on_conflict_do_update(index_elements=list(DIMENSIONS), set_=sums)
        )
