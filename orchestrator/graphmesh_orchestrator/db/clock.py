"""The clock of leases, schedules and expiry: the database's, so that the clocks of workers do not matter."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

LEASE_SECONDS = 5.0
"""How long a lease holds without being renewed; after that, another worker may claim the run."""
LEASE_MARGIN_SECONDS = 0.5
"""A worker stops before its lease is over: for the way of an effect to its service, and the commit there. It bounds as
well how much faster the clock of the database may run than the worker's during a lease."""
LEASE_RENEWAL_SECONDS = 1.5
"""The age of a lease at which a heartbeat renews it. Most leases are renewed before, with the writes of their runs."""


class seconds_now(FunctionElement[float]):
    """The current time in seconds since 1970, also within a transaction, whose start `now()` would return."""

    type = sa.Float()
    inherit_cache = True


NOW = sa.select(seconds_now()).scalar_subquery()
"""The time, evaluated once a statement: PostgreSQL uses no index for a condition with a volatile function."""


async def read_clock(connection: AsyncConnection) -> datetime:
    """Read the time that rows are stamped with, and compared with: the same for all processes."""
    return datetime.fromtimestamp((await connection.execute(sa.select(seconds_now()))).scalar_one(), UTC)


@compiles(seconds_now, "postgresql")
def _postgresql(element: Any, compiler: Any, **_: Any) -> str:
    return "extract(epoch from clock_timestamp())"


@compiles(seconds_now, "sqlite")
def _sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"
