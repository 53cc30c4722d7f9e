"""What ticketing's rules are to its callers."""

from collections.abc import Iterator
from contextlib import contextmanager

from graphmesh_chassis.errors import RuleViolated

from graphmesh_ticketing.domain import RuleBroken


@contextmanager
def rules() -> Iterator[None]:
    """A broken rule in the body is the caller's error, with the rule's name and message."""
    try:
        yield
    except RuleBroken as error:
        raise RuleViolated(str(error), rule=error.rule) from error
