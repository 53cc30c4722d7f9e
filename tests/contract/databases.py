"""A database that a test observes and controls, for the suites of stores in SQL."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, cast

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DatabaseUnavailable
from graphmesh_chassis.single_statement_connection import SingleStatementConnection
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

OnStatement = Callable[[str], None]


class ControlledDatabase:
    """Another database with a switch for failing reads, whose single statements are observed."""

    def __init__(self, database: Database, *, before: OnStatement | None = None, after: OnStatement | None = None):
        """`before` and `after` are called with the text of each statement of a single statement connection."""
        self._database, self._before, self._after = database, before, after
        self.failing_reads = 0
        """The number of next reads that raise DatabaseUnavailable."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @property
    def as_database(self) -> Database:
        return cast(Database, self)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self.failing_reads:
            self.failing_reads -= 1
            raise DatabaseUnavailable()
        return self._database.read()

    def single_statement_connection(self) -> "ObservedConnection":
        return ObservedConnection(self._database.single_statement_connection(), self._before, self._after)


class ObservedConnection:
    """A single statement connection that calls a test before and after each statement."""

    def __init__(
        self, connection: SingleStatementConnection, before: OnStatement | None, after: OnStatement | None
    ) -> None:
        self._connection, self._before, self._after = connection, before, after

    async def execute(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        if self._before:
            self._before(statement)
        rows = await self._connection.execute(statement, parameters)
        if self._after:
            self._after(statement)
        return rows


@contextmanager
def engine_events(on_statement: OnStatement, on_commit: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Call a test before each statement, and before each commit, of any connection of SQLAlchemy."""

    def before_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
        on_statement(statement)

    def before_commit(_: Any) -> None:
        on_commit()

    listeners: dict[str, Callable[..., None]] = {"before_cursor_execute": before_statement, "commit": before_commit}
    for name, listener in listeners.items():
        event.listen(sa.Engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(sa.Engine, name, listener)
