"""`graphmesh audit`: list every effect with its caller and its result, read from the services' databases."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from graphmesh_chassis import effects
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from rich.text import Text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from graphmesh_cli.commands.output import AsJson, show_list
from graphmesh_cli.failures import Failure, usage_error

DATABASE_SETTING = re.compile(r"GRAPHMESH_([A-Z0-9_]+)_DATABASE_URL")
SHORT_RUN = re.compile(r"run_[0-9a-f]{4,31}")
IMPORTERS = ("import", "ingest")
"""The callers of `graphmesh import` and `ingest`, whose calls belong to no run."""
STYLES = {effects.OK: "green", effects.STARTED: "yellow"}


@dataclass(frozen=True)
class Entry:
    """One effect. Requests and responses are not read, since they contain data of customers."""

    create_time: datetime
    method: str
    tenant: str
    subject: str
    run: str
    thread: str
    node: str
    epoch: int | None
    approval: str
    key: str
    result: str

    @property
    def tool(self) -> str:
        """The tool's name: `billing.Charge`."""
        service, _, method = self.method.removeprefix("/").partition("/")
        return f"{service.split('.')[-3]}.{method}"


COLUMNS_SHOWN: Mapping[str, Callable[[Entry], str | Text]] = {
    "time": lambda entry: f"{entry.create_time:%Y-%m-%d %H:%M:%S}",
    "tool": lambda entry: entry.tool,
    "result": lambda entry: Text(entry.result, STYLES.get(entry.result, "red")),
    "caller": lambda entry: f"{entry.tenant}/{entry.subject}",
    "run": lambda entry: entry.run,
    "node": lambda entry: entry.node,
    "approval": lambda entry: entry.approval,
}
COLUMNS = [effects.table.c[name] for name in Entry.__dataclass_fields__]


def audit(
    run: Annotated[str, typer.Option(help="Only effects of this run.")] = "",
    tenant: Annotated[str, typer.Option(help="Only effects of this tenant; of all by default.")] = "",
    service: Annotated[str, typer.Option(help="Only effects of this service: billing.")] = "",
    state: Annotated[Path, typer.Option(help="The state folder of a running or stopped mesh.")] = DEFAULT_STATE,
    database: Annotated[str, typer.Option(help="SQLAlchemy URL of the only database to read.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most effects to list, the newest.")] = 200,
    imports: Annotated[bool, typer.Option("--imports", help="Also those of graphmesh import and ingest.")] = False,
    as_json: AsJson = False,
) -> None:
    """List effects with caller, run, node, approval and result, in the order of time.

    The result is OK, the reason of the error that the caller got, or STARTED: begun in an external system, with an
    open outcome. The command reads the databases of the state folder and those that the services' settings name.
    """
    urls = {service: database} if database else databases(StateFolder(state), service)
    if not urls:
        raise usage_error(f"no database of {service or 'a service'} in {state}; name one with --database")
    conditions = _conditions(run, tenant, imports)
    found = [entry for name, url in urls.items() for entry in _read(name, url, conditions, limit)]
    if len(runs := {entry.run for entry in found}) > 1 and run:
        raise usage_error(f"{run} is the beginning of several ids: {', '.join(sorted(runs)[:5])}")
    show_list(
        sorted(found, key=lambda entry: entry.create_time)[-limit:],
        COLUMNS_SHOWN,
        ids=["run", "approval"],
        empty="no effects" if imports else "no effects, imports left out: --imports lists them",
        as_json=as_json,
    )


def _conditions(run: str, tenant: str, imports: bool) -> list[sa.ColumnElement[bool]]:
    columns = effects.table.c
    conditions = [columns.tenant == tenant] if tenant else []
    if run:
        conditions.append(columns.run == run if not SHORT_RUN.fullmatch(run) else columns.run.startswith(run))
    if not imports:
        conditions.append(sa.or_(columns.run != "", columns.subject.not_in(IMPORTERS)))
    return conditions


def databases(folder: StateFolder, service: str = "") -> dict[str, str]:
    """Return the URL of each service's database by the service's name; that of `service` alone where it is given."""
    files = {file.stem: f"sqlite:///{file}" for file in sorted(folder.databases.glob("*.db"))}
    settings = {
        match[1].lower(): url for name, url in os.environ.items() if (match := DATABASE_SETTING.fullmatch(name))
    }
    return {name: url for name, url in (files | settings).items() if service in ("", name)}


def _read(service: str, url: str, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> Sequence[Entry]:
    """Read the newest effects. Raises Failure, in one line, where the database cannot be read."""
    try:
        return list(_entries(url, conditions, limit))
    except ArgumentError as error:
        raise usage_error(f"{url} is no URL of a database: {error}") from None
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        raise Failure(f"{service or 'the database'} cannot be read: {cause}") from None
    except ImportError as error:
        raise usage_error(f"{service or 'the database'} has a driver that is not installed: {error}") from None


def _entries(url: str, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> Iterator[Entry]:
    """Yield the newest effects of a database; none where its service has no effects."""
    newest = sa.select(*COLUMNS).order_by(effects.table.c.create_time.desc()).limit(limit)
    with connect_read_only(url) as connection:
        if sa.inspect(connection).has_table(effects.table.name):
            yield from (Entry(*row) for row in connection.execute(newest.where(*conditions)))
