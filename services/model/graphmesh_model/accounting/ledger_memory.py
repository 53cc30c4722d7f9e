"""The accounts in memory, the twin of those in SQL. They end with the process."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from graphmesh_model.accounting.admitting import payable, refusal
from graphmesh_model.accounting.budgets import Account, Balance, Need
from graphmesh_model.accounting.ledger import Reservation, Settlement, Subject, UsageFilter, UsageGroup, UsageTotal
from graphmesh_model.accounting.totals import added, total_of

DIMENSIONS = ("tenant", "day", "run", "alias", "model")
AccountKey = tuple[str, str, datetime]


class MemoryLedger:
    def __init__(self) -> None:
        self._usage: dict[tuple[str, ...], UsageTotal] = {}
        self._balances: dict[AccountKey, Balance] = {}
        self._open: dict[str, Need] = {}
        self._settled = asyncio.Condition()

    async def reserve(self, reservation: Reservation) -> Need:
        async with self._settled:
            while True:
                found = [(one, self._balances.get(_account_key(one), Balance())) for one in reservation.accounts]
                if need := payable(reservation.need, found):
                    break
                try:
                    async with reservation.wait_limit.timeout():
                        await self._settled.wait()
                except TimeoutError:
                    raise refusal(*found[0], reservation.need) from None
            self._open[reservation.id] = need
            self._change(reservation, need.cost, need.tokens, 0, 0)
            return need

    async def settle(self, reservation: Reservation, settlement: Settlement | None) -> None:
        async with self._settled:
            need = self._open.pop(reservation.id, None)
            if need is None:
                return
            used = settlement.usage if settlement else None
            tokens = used.input_tokens + used.output_tokens if used else 0
            cost = (settlement.cost or 0) if settlement else 0
            self._change(reservation, -need.cost, -need.tokens, cost, tokens)
            if settlement:
                self._add(reservation.subject, reservation.begun, total_of(settlement))
            self._settled.notify_all()

    async def count(self, subject: Subject, at: datetime, settlement: Settlement, *, cache_hit: bool = False) -> None:
        self._add(subject, at, total_of(settlement, cache_hit=cache_hit))

    async def usage(self, conditions: UsageFilter, after: tuple[str, ...] | None, limit: int) -> Sequence[UsageGroup]:
        groups: dict[tuple[str, ...], list[UsageTotal]] = {}
        for key, total in self._usage.items():
            row = dict(zip(DIMENSIONS, key, strict=True))
            if _fits(row, conditions):
                groups.setdefault(tuple(row[name] for name in conditions.group_by), []).append(total)
        keys = [key for key in sorted(groups) if after is None or key > after][:limit]
        return [UsageGroup(added(groups[key]), **dict(zip(conditions.group_by, key, strict=True))) for key in keys]

    async def balances(self, accounts: Sequence[Account]) -> Sequence[Balance]:
        return [self._balances.get(_account_key(account), Balance()) for account in accounts]

    def _change(self, reservation: Reservation, reserved: int, reserved_tokens: int, spent: int, tokens: int) -> None:
        for account in reservation.accounts:
            before = self._balances.get(_account_key(account), Balance())
            self._balances[_account_key(account)] = Balance(
                before.spent_cost + spent,
                before.reserved_cost + reserved,
                before.spent_tokens + tokens,
                before.reserved_tokens + reserved_tokens,
            )

    def _add(self, subject: Subject, at: datetime, total: UsageTotal) -> None:
        day = at.astimezone(UTC).date().isoformat()
        key = (subject.tenant, day, subject.run, subject.alias, subject.model)
        self._usage[key] = added([self._usage.get(key, UsageTotal()), total])


def _account_key(account: Account) -> AccountKey:
    return account.budget.name, account.key, account.begin


def _fits(row: dict[str, str], conditions: UsageFilter) -> bool:
    equal = {"tenant": conditions.tenant, "run": conditions.run, "alias": conditions.alias}
    is_in = not conditions.last_day or row["day"] <= conditions.last_day
    return (
        all(value in ("", row[name]) for name, value in equal.items()) and conditions.first_day <= row["day"] and is_in
    )
