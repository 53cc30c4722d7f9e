"""The part of `graphmesh audit` that verifies the chains of audit logs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from graphmesh_chassis import audit_chain, audit_log, effects
from graphmesh_chassis.audit_verification import Verification, verify
from rich.text import Text

from graphmesh_cli.commands.audit_databases import opened
from graphmesh_cli.commands.output import show_list
from graphmesh_cli.failures import Failure

TABLES = frozenset({audit_log.table.name, audit_chain.chain.name, effects.table.name})


@dataclass(frozen=True)
class VerifiedLog:
    """The state of the log of one database."""

    database: str
    sealed: int
    unsealed: int
    hash: str
    broken: str


COLUMNS_SHOWN: Mapping[str, Callable[[VerifiedLog], str | Text]] = {
    "database": lambda log: log.database,
    "sealed": lambda log: str(log.sealed),
    "not sealed yet": lambda log: str(log.unsealed),
    "newest hash": lambda log: log.hash,
}


def show_verification(urls: Mapping[str, str], *, as_json: bool) -> None:
    """Verify the logs of databases by name, and print their state.

    Raises:
        Failure: a log is broken; the message names the first broken row of each.
    """
    logs = list(_verified(urls))
    show_list(logs, COLUMNS_SHOWN, empty="no audit log", as_json=as_json)
    if broken := [f"{log.database}: {log.broken}" for log in logs if log.broken]:
        raise Failure("; ".join(broken))


def _verified(urls: Mapping[str, str]) -> Iterator[VerifiedLog]:
    """Yield the state of each log. A database without one, such as a warehouse, has none of its tables."""
    for name, url in urls.items():
        with opened(name, url) as (connection, tables):
            if not TABLES.intersection(tables):
                continue
            if missing := sorted(TABLES.difference(tables)):
                found = Verification(0, 0, "", f"the table {missing[0]} was removed")
            else:
                found = verify(connection)
        yield VerifiedLog(name or "database", found.sealed, found.unsealed, found.hash, found.broken)
