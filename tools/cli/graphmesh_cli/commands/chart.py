"""`graphmesh chart`: draw the chart in a run's output."""

from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh.orchestrator.v1 import Run
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.charts import Chart
from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import Failure


def chart(
    run_id: Annotated[str, typer.Argument(help="The run: its id, or the beginning of it.")],
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the chart as SVG.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the chart as PNG.")] = None,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Draw the chart that the analyst has made of its rows, as bars or into a file."""

    async def get(client: Client) -> Run:
        return await client.get_run(await short_ids.run_id(client, run_id))

    spec = _spec_of(Connection(address, state, tenant, token).run(get))
    drawn = Chart.of(spec)
    if svg:
        svg.write_text(drawn.svg(), encoding="utf-8")
    if png:
        png.write_bytes(drawn.png())
    if as_json:
        return print_json_line(dict(spec))
    if not svg and not png:
        for line in drawn.lines():
            console().print(line, soft_wrap=True)
    return None


def _spec_of(run: Run) -> dict[str, Any]:
    """Return the specification in a run's output. Raises Failure where it has none."""
    found = struct_value(run.output).get("chart") if run.HasField("output") else None
    if not isinstance(found, dict):
        raise Failure(f"{run.run_id} has no chart: one is made of a column of labels and one of numbers")
    return found
