"""The port to the queried database."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from graphmesh_sql.domain import ResultColumn, Row, Schema


class Result(Protocol):
    """A result that is read incrementally."""

    @property
    def columns(self) -> tuple[ResultColumn, ...]: ...

    async def fetch(self, max_rows: int) -> list[Row]:
        """Return the next rows, at most `max_rows`; an empty list at the end. Raises as `Warehouse.query` does."""
        ...


class Warehouse(Protocol):
    """A database, through read-only connections. SQLite is the twin that needs no server."""

    async def describe(self) -> Schema:
        """Read the tables and views that queries may read.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        ...

    def query(self, text: str, tenant: str, seconds: float) -> AbstractAsyncContextManager[Result]:
        """Run a query that `guard.check_query` accepted.

        Leaving the body ends the query. The database itself cancels it after `seconds`.

        Raises:
            RuleBroken: the query would write, reads a table that is not described, or is too expensive.
            Unanswerable: the database cannot answer the query as written.
            DeadlineExceeded: `seconds` have passed.
            DatabaseUnavailable: the database does not answer.
        """
        ...

    async def ping(self) -> None:
        """Check that the database answers.

        Raises:
            DatabaseUnavailable: the database does not answer within a few seconds.
        """
        ...
