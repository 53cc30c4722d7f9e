"""The port of a worker to a database."""

from collections.abc import Iterator
from typing import Protocol

from graphmesh_sql.domain import Query, ResultPart, Schema


class Engine(Protocol):
    """A database, through read-only connections. Its errors are those of `domain`."""

    def describe(self, role: str) -> Schema: ...

    def query(self, query: Query, schema: Schema) -> Iterator[ResultPart]:
        """Yield columns, batches of rows, and the end. Closing the iterator ends the query."""
        ...

    def ping(self) -> tuple[str, ...]:
        """Check that the database answers, and return sentences about limits that cannot be enforced in it."""
        ...
