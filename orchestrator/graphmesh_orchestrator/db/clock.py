"""The time of leases: the database's, so that workers' clocks do not matter."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

LEASE_SECONDS = 5.0
"""How long a lease holds without being renewed; so long after it stops, a worker's runs are another's."""
FRESH_SECONDS = 1.5
"""A lease that was renewed less than that ago is not renewed again: most are by what the runs write."""


class seconds_now(FunctionElement[float]):
    """The database's time in seconds since 1970, as it passes: not that of the transaction's beginning."""

    type = sa.Float()
    inherit_cache = True


NOW = sa.select(seconds_now()).scalar_subquery()
"""Reckoned once a statement: what may change from row to row, PostgreSQL looks up in no index."""


@compiles(seconds_now, "postgresql")
def _postgresql(element: Any, compiler: Any, **_: Any) -> str:
    return "extract(epoch from clock_timestamp())"


@compiles(seconds_now, "sqlite")
def _sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"
