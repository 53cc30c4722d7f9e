"""`graphmesh sql`: ask the warehouse of the mesh."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from google.protobuf.struct_pb2 import NULL_VALUE
from graphmesh.sql import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    MeshTarget,
    State,
    Tenant,
    check_tenant,
    mesh_target,
    parse_seconds,
)
from graphmesh_cli.commands.output import AsJson, console, noted, print_json_line, print_note, show_list
from graphmesh_cli.terminal import escaped

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds, as the policy of the RPC has it."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    mesh: MeshTarget
    headers: tuple[tuple[str, str], ...]
    seconds: float


def sql(
    query: Annotated[
        str, typer.Argument(help="The SELECT, @FILE, or - for standard input. Without one: describe the tables.")
    ] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="The values of $1, $2 and so on, in order: JSON, else text."),
    ] = None,
    max_rows: Annotated[int, typer.Option(help="The maximum number of rows; 0: 1000.", min=0, max=1_000_000)] = 0,
    timeout: Annotated[
        float,
        typer.Option(
            parser=parse_seconds, metavar="TIME", show_default="30s", help="The time of the query, such as 5s."
        ),
    ] = DEFAULT_TIMEOUT,
    estimate: Annotated[bool, typer.Option("--estimate", help="Plan the query and do not run it.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Run the query even if its result is cached.")] = False,
    role: Annotated[str, typer.Option(help="The role of the warehouse to read with.")] = "",
    address: Annotated[str, typer.Option(help="host:port of sql or a mesh; by default the running mesh.")] = "",
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Run one SELECT on the warehouse of the mesh, or describe its tables.

    Rows are printed as a table, or with --json one object a line as they arrive. A note on standard error has the
    number of rows, whether the result is cut off or cached, and what the planner expected.
    """
    check_tenant(tenant)
    scopes = " ".join(["sql.read", *([f"sql.role.{role}"] if role else [])])
    headers = ((metadata.TENANT, tenant), (metadata.SUBJECT, "sql"), (metadata.SCOPES, scopes))
    target = Target(mesh_target(address, state), headers, timeout)
    text, values = _text(query), [_parameter(value) for value in parameter or ()]
    if estimate and not text:
        raise typer.BadParameter("needs a query", param_hint="--estimate")
    try:
        if not text:
            asyncio.run(_describe(target, role, as_json))
        elif estimate:
            asyncio.run(_estimate(target, pb.EstimateQueryRequest(query=text, parameters=values, role=role), as_json))
        else:
            request = pb.RunQueryRequest(query=text, parameters=values, max_rows=max_rows, role=role, refresh=refresh)
            asyncio.run(_run(target, request, as_json))
    except GraphmeshError as error:
        raise target.mesh.failure(error) from error


async def _describe(target: Target, role: str, as_json: bool) -> None:
    async with target.mesh.channel() as channel:
        request = pb.DescribeSchemaRequest(role=role)
        deadline = Deadline.after(target.seconds)
        schema = await channel.unary(pb.SqlService.DescribeSchema, request, deadline=deadline, headers=target.headers)
    columns: dict[str, Callable[[pb.Table], str]] = {
        "table": lambda table: table.name,
        "kind": lambda table: "view" if table.view else "table",
        "rows": lambda table: f"{table.row_estimate}" if table.HasField("row_estimate") else "",
        "columns": lambda table: ", ".join(f"{one.name} {one.database_type}".rstrip() for one in table.columns),
    }
    show_list(schema.tables, columns, empty="no tables", as_json=as_json)


async def _estimate(target: Target, request: pb.EstimateQueryRequest, as_json: bool) -> None:
    async with target.mesh.channel() as channel:
        deadline = Deadline.after(target.seconds)
        response = await channel.unary(pb.SqlService.EstimateQuery, request, deadline=deadline, headers=target.headers)
    if as_json:
        return print_json_line(response.estimate)
    for line in response.estimate.plan:
        console().print(line)
    print_note(_expectation(response.estimate))
    return None


async def _run(target: Target, request: pb.RunQueryRequest, as_json: bool) -> None:
    rows: list[list[Any]] = []
    names: list[str] = []
    summary, expectation = pb.ResultSummary(), ""
    async with noted("the query is running"), target.mesh.channel() as channel:
        async for part in _parts(channel, target, request):
            match part.WhichOneof("part"):
                case "columns":
                    names = _distinct([column.name for column in part.columns.columns])
                    expectation = _expectation(part.columns.estimate)
                case "rows" if as_json:
                    for row in part.rows.rows:
                        _print_json(dict(zip(names, map(_value, row.values), strict=True)))
                case "rows":
                    rows += [[_value(value) for value in row.values] for row in part.rows.rows]
                case _:
                    summary = part.summary
    if not as_json and names:
        cells = {name: _cell(at) for at, name in enumerate(names)}
        show_list(rows, cells, empty="no rows")
    print_note("; ".join([*_notes(summary), expectation]))


def _parts(channel: Channel, target: Target, request: pb.RunQueryRequest) -> AsyncIterator[pb.RunQueryResponse]:
    deadline = Deadline.after(target.seconds)
    return channel.stream(pb.SqlService.RunQuery, request, deadline=deadline, headers=target.headers)


def _notes(summary: pb.ResultSummary) -> Iterable[str]:
    yield f"{summary.row_count} row{'' if summary.row_count == 1 else 's'}"
    if summary.limit == pb.ResultLimit.RESULT_LIMIT_ROWS:
        yield "cut off at the maximum of rows"
    if summary.limit == pb.ResultLimit.RESULT_LIMIT_BYTES:
        yield "cut off at the maximum of bytes"
    if summary.HasField("cache_age"):
        yield f"cached {summary.cache_age.ToTimedelta().total_seconds():.0f} s ago"
    else:
        yield f"{summary.elapsed.ToTimedelta().total_seconds():.3f} s"


def _expectation(estimate: pb.QueryEstimate) -> str:
    rows = f", {estimate.row_count:.0f} rows" if estimate.HasField("row_count") else ""
    return f"expected cost {estimate.cost:.0f}{rows}"


def _text(query: str) -> str:
    if query == "-":
        return sys.stdin.read()
    if not query.startswith("@"):
        return query
    try:
        return Path(query[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{query[1:]}: {error}", param_hint="QUERY") from None


def _parameter(text: str) -> pb.Parameter:
    """Return a JSON scalar as its value, and anything else as text: `5`, `2.5`, `true`, `null`, `"5"`, `pen`."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    match value:
        case None:
            return pb.Parameter(null_value=NULL_VALUE)
        case bool():
            return pb.Parameter(bool_value=value)
        case int() if abs(value) < 2**63:
            return pb.Parameter(int64_value=value)
        case float():
            return pb.Parameter(double_value=value)
        case str():
            return pb.Parameter(string_value=value)
    return pb.Parameter(string_value=text)


def _value(value: pb.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    found = getattr(value, kind)
    return found.hex() if isinstance(found, bytes) else found


def _cell(at: int) -> Callable[[Sequence[Any]], str]:
    return lambda row: "" if row[at] is None else str(row[at])


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names that repeat: `id`, `id_2`."""
    found: list[str] = []
    for name in names:
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found


def _print_json(row: Row) -> None:
    """Print a row as one line, with its columns in their order."""
    typer.echo(escaped(json.dumps(row, ensure_ascii=False)))
