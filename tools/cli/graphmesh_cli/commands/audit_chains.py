"""The part of `graphmesh audit` that verifies the chains of audit logs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from graphmesh_chassis import audit_chain, audit_log, effects
from graphmesh_chassis.audit_verification import Verification, verify
from rich.text import Text

from graphmesh_cli.commands.audit_anchors import Anchors
from graphmesh_cli.commands.audit_databases import opened
from graphmesh_cli.commands.output import show_list
from graphmesh_cli.failures import Failure

DATABASE = "database"
"""The name of a database that is given by its URL alone."""
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


def show_verification(urls: Mapping[str, str], anchors: Anchors, *, as_json: bool) -> None:
    """Verify the logs of databases by name, and print their state.

    Raises:
        Failure: a log is broken; the message names the first broken row of each.
    """
    logs = list(_verified(urls, anchors))
    show_list(logs, COLUMNS_SHOWN, empty="no audit log", as_json=as_json)
    broken = [f"{log.database}: {log.broken}" for log in logs if log.broken]
    missing = sorted(anchors.keys() - {log.database for log in logs})
    broken += [f"{name}: there is no log, and the anchor has row {max(anchors[name])}" for name in missing]
    if broken:
        raise Failure("; ".join(broken))


def _verified(urls: Mapping[str, str], anchors: Anchors) -> Iterator[VerifiedLog]:
    """Yield the state of each log. A database without one, such as a warehouse, has none of its tables."""
    for name, url in urls.items():
        with opened(name, url) as (connection, tables):
            if not TABLES.intersection(tables):
                continue
            if missing := sorted(TABLES.difference(tables)):
                found = Verification(0, 0, "", f"the table {missing[0]} was removed")
            else:
                found = verify(connection, anchors.get(name or DATABASE, {}))
        yield VerifiedLog(name or DATABASE, found.sealed, found.unsealed, found.hash, found.broken)
