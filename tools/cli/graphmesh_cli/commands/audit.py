"""`graphmesh audit`: list every effect with its caller and its result, read from the services' databases."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from graphmesh_chassis import effects
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

DATABASE_SETTING = re.compile(r"GRAPHMESH_([A-Z0-9_]+)_DATABASE_URL")
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


COLUMNS = [effects.table.c[name] for name in Entry.__dataclass_fields__]


def audit(
    run: Annotated[str, typer.Option(help="Only effects of this run.")] = "",
    tenant: Annotated[str, typer.Option(help="Only effects of this tenant; of all by default.")] = "",
    service: Annotated[str, typer.Option(help="Only effects of this service: billing.")] = "",
    state: Annotated[Path, typer.Option(help="The state folder of a running or stopped mesh.")] = DEFAULT_STATE,
    database: Annotated[str, typer.Option(help="SQLAlchemy URL of the only database to read.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most effects to list, the newest.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with all fields.")] = False,
) -> None:
    """List effects with caller, run, node, approval and result, in the order of time.

    The result is OK, the reason of the error that the caller got, or STARTED: begun in an external system, with an
    open outcome. The command reads the databases of the state folder and those that the services' settings name.
    """
    urls = {service: database} if database else databases(StateFolder(state), service)
    if not urls:
        raise typer.BadParameter(f"no database of {service or 'a service'} in {state}; name one with --database")
    filters = {column: value for column, value in (("run", run), ("tenant", tenant)) if value}
    found = [entry for name, url in urls.items() for entry in _read(name, url, filters, limit)]
    newest = sorted(found, key=lambda entry: entry.create_time)[-limit:]
    if as_json:
        for entry in newest:
            typer.echo(json.dumps(asdict(entry), default=datetime.isoformat))
    else:
        Console().print(_table(newest))


def databases(folder: StateFolder, service: str = "") -> dict[str, str]:
    """Return the URL of each service's database by the service's name; that of `service` alone where it is given."""
    files = {file.stem: f"sqlite:///{file}" for file in sorted(folder.databases.glob("*.db"))}
    settings = {
        match[1].lower(): url for name, url in os.environ.items() if (match := DATABASE_SETTING.fullmatch(name))
    }
    return {name: url for name, url in (files | settings).items() if service in ("", name)}


def _read(service: str, url: str, filters: Mapping[str, str], limit: int) -> Sequence[Entry]:
    """Read the newest effects. An error of the database is shown in one line and ends the command with 1."""
    try:
        return list(_entries(url, filters, limit))
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        Console().print(f"{service or 'the database'} cannot be read: {cause}", style="red", markup=False)
        raise typer.Exit(1) from None


def _entries(url: str, filters: Mapping[str, str], limit: int) -> Iterator[Entry]:
    """Yield the newest effects of a database; none where its service has no effects."""
    newest = sa.select(*COLUMNS).order_by(effects.table.c.create_time.desc()).limit(limit)
    with connect_read_only(url) as connection:
        if sa.inspect(connection).has_table(effects.table.name):
            yield from (Entry(*row) for row in connection.execute(newest.filter_by(**filters)))


def _table(entries: Sequence[Entry]) -> Table:
    """Return a table whose cells fold instead of being truncated."""
    names = ("tool", "result", "caller", "run", "node", "approval")
    folded = [Column(name, overflow="fold", min_width=7) for name in names]
    table = Table(Column("time", no_wrap=True), *folded, box=None)
    for entry in entries:
        time = f"{entry.create_time:%Y-%m-%d %H:%M:%S}"
        result = Text(entry.result, STYLES.get(entry.result, "red"))
        origin = map(Text, (f"{entry.tenant}/{entry.subject}", entry.run, entry.node, entry.approval))
        table.add_row(time, Text(entry.tool), result, *origin)
    return table
