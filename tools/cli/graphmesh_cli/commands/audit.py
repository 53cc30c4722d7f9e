"""`graphmesh audit`: list who did what, and verify the chain of the log, read from the databases of the servers."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from graphmesh_chassis import audit_log, effects
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from rich.text import Text

from graphmesh_cli.commands.audit_anchors import read_anchors
from graphmesh_cli.commands.audit_chains import show_verification
from graphmesh_cli.commands.audit_databases import databases, opened
from graphmesh_cli.commands.audit_entry import Entry
from graphmesh_cli.commands.audit_envoy import ENVOY, envoy_refusals
from graphmesh_cli.commands.output import AsJson, show_list
from graphmesh_cli.failures import usage_error

DEFAULT_LIMIT = 200
SHORT_RUN = re.compile(r"run_[0-9a-f]{4,31}")
IMPORTERS = ("import", "ingest")
"""The callers of `graphmesh import` and `ingest`, whose calls belong to no run."""
STYLES = {audit_log.OK: "green", effects.STARTED: "yellow"}


COLUMNS_SHOWN: Mapping[str, Callable[[Entry], str | Text]] = {
    "time": lambda entry: f"{entry.create_time:%Y-%m-%d %H:%M:%S}",
    "act": lambda entry: entry.act,
    "result": lambda entry: Text(entry.outcome, STYLES.get(entry.result, "red")),
    "caller": lambda entry: entry.caller,
    "run": lambda entry: entry.run,
    "node": lambda entry: entry.node,
    "approval": lambda entry: entry.approval,
}
COLUMNS = [audit_log.table.c[name] for name in Entry.__dataclass_fields__ if name in audit_log.table.c]


def audit(
    run: Annotated[str, typer.Option(help="Only acts of this run.")] = "",
    tenant: Annotated[str, typer.Option(help="Only acts of this tenant; of all by default.")] = "",
    service: Annotated[str, typer.Option(help="Only the log of this server: billing, envoy.")] = "",
    state: Annotated[Path, typer.Option(help="The state folder of a running or stopped mesh.")] = DEFAULT_STATE,
    database: Annotated[str, typer.Option(help="SQLAlchemy URL of the only database to read.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most acts to list, the newest.")] = DEFAULT_LIMIT,
    imports: Annotated[bool, typer.Option("--imports", help="Also those of graphmesh import and ingest.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Verify that no row was removed or changed.")] = False,
    anchors: Annotated[Path | None, typer.Option(help="With --verify: a file of earlier results to compare.")] = None,
    as_json: AsJson = False,
) -> None:
    """List effects, answers, cancellations, updates and refusals with their callers, in the order of time.

    The result is OK, the reason of the error that the caller got, or STARTED: begun in an external system, with an
    open outcome. The command reads the databases of the state folder and those that the servers' settings name, and
    Envoy's log in the folder, for calls that Envoy has refused.
    """
    folder = StateFolder(state)
    urls = {service: database} if database else databases(folder, service)
    refused = [] if database or run or service not in ("", ENVOY) else list(envoy_refusals(folder.logs, tenant, limit))
    if not urls and not (service == ENVOY and not verify):
        raise usage_error(f"no database of {service or 'a service'} in {state}; name one with --database")
    if verify:
        if run or tenant or imports or limit != DEFAULT_LIMIT:
            raise usage_error("--verify verifies whole logs: leave out --run, --tenant, --limit and --imports")
        return show_verification(urls, read_anchors(anchors, service) if anchors else {}, as_json=as_json)
    if anchors:
        raise usage_error("--anchors: only with --verify")
    conditions = _conditions(run, tenant, imports)
    found = [entry for name, url in urls.items() for entry in _entries(name, url, conditions, limit)]
    found += refused
    if len(runs := {entry.run for entry in found}) > 1 and run:
        raise usage_error(f"{run} is the beginning of several ids: {', '.join(sorted(runs)[:5])}")
    return show_list(
        sorted(found, key=lambda entry: entry.create_time)[-limit:],
        COLUMNS_SHOWN,
        ids=["run", "approval"],
        empty="no acts" if imports else "no acts, imports left out: --imports lists them",
        as_json=as_json,
    )


def _conditions(run: str, tenant: str, imports: bool) -> list[sa.ColumnElement[bool]]:
    columns = audit_log.table.c
    conditions = [columns.tenant == tenant] if tenant else []
    if run:
        conditions.append(columns.run == run if not SHORT_RUN.fullmatch(run) else columns.run.startswith(run))
    if not imports:
        conditions.append(sa.or_(columns.run != "", columns.subject.not_in(IMPORTERS)))
    return conditions


def _entries(name: str, url: str, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> Iterator[Entry]:
    """Yield the newest acts in a log, without the start of an effect whose outcome follows.

    Raises:
        Failure: the database cannot be read, in one line.
    """
    newest = sa.select(*COLUMNS).order_by(audit_log.table.c.entry_id.desc()).limit(limit)
    ended = set()
    with opened(name, url) as (connection, tables):
        if audit_log.table.name not in tables:
            return
        for row in connection.execute(newest.where(*conditions)):
            entry = Entry(*row)
            if entry.result != effects.STARTED or (entry.tenant, entry.key) not in ended:
                yield entry
            ended.add((entry.tenant, entry.key))
