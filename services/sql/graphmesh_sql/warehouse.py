"""The database that queries are asked of, as the use cases see it."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from graphmesh_sql.domain import ResultColumn, Row, Schema


class Result(Protocol):
    """A result that is read piece by piece."""

    @property
    def columns(self) -> tuple[ResultColumn, ...]: ...

    async def fetch(self, most: int) -> list[Row]:
        """The next rows; none at the end. Raises as `Warehouse.query` does."""
        ...


class Warehouse(Protocol):
    """A database, through connections that can only read. SQLite is the twin that needs no server."""

    async def describe(self) -> Schema:
        """Raises DatabaseUnavailable."""
        ...

    def query(self, text: str, tenant: str, seconds: float) -> AbstractAsyncContextManager[Result]:
        """Run a query that `guard.judge` let pass. It ends with the body, and the database itself ends it in time.

        Raises:
            RuleBroken: it would write, names what is not described, or is too much work.
            Unanswerable: the database cannot make sense of it.
            DeadlineExceeded: `seconds` are over.
            DatabaseUnavailable: the database does not answer.
        """
        ...

    async def ping(self) -> None:
        """Raises DatabaseUnavailable where the database does not answer soon."""
        ...
