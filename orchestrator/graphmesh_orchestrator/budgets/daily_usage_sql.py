"""What tenants have used in a day, in SQL, on SQLite and PostgreSQL."""

from collections.abc import Mapping

import sqlalchemy as sa
from graphmesh_chassis.database import Database

from graphmesh_orchestrator.budgets.budget import NOTHING, Amounts
from graphmesh_orchestrator.db.tables import daily_usage

KEY = ["tenant", "day"]
SUMS = ("steps", "tokens", "cost", "effects")
MAX_ROWS = 1000
"""The most tenants in one statement."""


class SqlDailyUsage:
    """Sums in SQL. Every method also raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, day: int, used: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        rows = [{"tenant": tenant, "day": day, **vars(used[tenant])} for tenant in sorted(used)]  # locked in one order
        found: dict[str, Amounts] = {}
        async with self._database.transaction() as connection:
            for begin in range(0, len(rows), MAX_ROWS):
                insert = self._database.insert(daily_usage).values(rows[begin : begin + MAX_ROWS])
                sums = {name: daily_usage.c[name] + insert.excluded[name] for name in SUMS}
                added = insert.on_conflict_do_update(index_elements=KEY, set_=sums)
                for row in await connection.execute(added.returning(daily_usage)):
                    found[row.tenant] = _amounts(row)
        return found

    async def of(self, day: int, tenant: str) -> Amounts:
        query = sa.select(daily_usage).where(daily_usage.c.tenant == tenant, daily_usage.c.day == day)
        return next(map(_amounts, await self._database.rows(query)), NOTHING)

    async def begin_effects(self, day: int, tenant: str, count: int, limit: int) -> int | None:
        if count > limit:
            return None
        first = {"tenant": tenant, "day": day, **vars(Amounts(effects=count))}
        counted = (
            self._database.insert(daily_usage)
            .values(first)
            .on_conflict_do_update(
                index_elements=KEY,
                set_={"effects": daily_usage.c.effects + count},
                where=daily_usage.c.effects + count <= limit,
            )
            .returning(daily_usage.c.effects)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(counted)).one_or_none()
        return None if row is None else int(row.effects)

    async def delete_before(self, day: int) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(sa.delete(daily_usage).where(daily_usage.c.day < day))


def _amounts(row: sa.Row[tuple[str, int, int, int, int, int]]) -> Amounts:
    columns = row._mapping
    return Amounts(*(columns[name] for name in SUMS))
