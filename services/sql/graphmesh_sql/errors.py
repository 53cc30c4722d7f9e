"""Errors of the sql service."""

from collections.abc import Iterator
from contextlib import contextmanager

from graphmesh_chassis.errors import FailedPrecondition, InvalidInput

from graphmesh_sql.domain import RuleBroken, Unanswerable


class QueryRefused(InvalidInput):
    """The query breaks the rule {rule}"""

    reason = "QUERY_REFUSED"


class QueryFailed(FailedPrecondition):
    """The database cannot answer the query: {detail}"""

    reason = "QUERY_FAILED"


@contextmanager
def query_errors() -> Iterator[None]:
    """Turn a broken rule, or a query that the database cannot answer, into an error of the caller."""
    try:
        yield
    except RuleBroken as error:
        raise QueryRefused(str(error), rule=error.rule.value) from error
    except Unanswerable as error:
        raise QueryFailed(detail=error) from error
