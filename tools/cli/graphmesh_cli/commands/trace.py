"""`graphmesh trace`: where the time of a run went, as a waterfall of its spans."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from graphmesh.telemetry.v1 import GetTraceRequest, GetTraceResponse, TelemetryService
from graphmesh_chassis.errors import NotFound
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphmesh_cli.commands.connection import DEFAULT_TENANT, State, Tenant
from graphmesh_cli.commands.output import AsJson, console, print_json_line, print_note
from graphmesh_cli.commands.service_calls import MeshAddress, ServiceCalls, call_services
from graphmesh_cli.commands.trace_page import page
from graphmesh_cli.failures import Failure
from graphmesh_cli.trace_tree import Node, forest, matching, merged, totals, walk

BAR = 28
"""Characters of the whole duration."""
MAX_NAME = 58
MAX_DEPTH = 16
"""Levels that are indented."""
NOT_KEPT = (
    "no spans of the run are kept: it was not sampled (telemetry.traces in mesh.yaml), it is older than the receiver "
    "keeps spans, its spans go to a collector of your own, or it is another tenant's"
)


def trace(
    run: Annotated[str, typer.Argument(help="The run.")],
    slow: Annotated[float, typer.Option(min=0, help="Only spans of at least so many milliseconds.")] = 0.0,
    errors: Annotated[bool, typer.Option("--errors", help="Only spans that failed.")] = False,
    whole: Annotated[bool, typer.Option("--all", help="Each of many spans of one name, one by one.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page of its own, and print nothing.")] = None,
    as_json: AsJson = False,
    address: MeshAddress = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show where the time of a run went: each node, call, attempt, service and SQL statement, with errors and cost.

    Spans that a filter leaves out are hidden, but for those above the shown ones.
    """

    async def read(calls: ServiceCalls) -> GetTraceResponse:
        return await calls(TelemetryService.GetTrace, GetTraceRequest(run=run))

    try:
        found = call_services(read, "trace", address, state, tenant)
    except Failure as failure:
        if isinstance(failure.__cause__, NotFound):
            raise Failure(f"{run}: {NOT_KEPT}") from failure
        raise
    if as_json:
        for span in found.spans:
            print_json_line(span)
        return
    roots = forest(found.spans)
    if slow or errors:
        roots = matching(roots, lambda node: (not errors or node.span.failed) and node.seconds * 1000 >= slow)
    if found.truncated:
        print_note(f"the trace has more than {len(found.spans)} spans; the first ones are shown")
    if html is not None:
        html.write_text(page(run, roots), encoding="utf-8")
        return
    show(console(), roots if whole else merged(roots))


def show(target: Console, roots: Sequence[Node]) -> None:
    """Print a waterfall."""
    lines = list(walk(roots))
    if not lines:
        target.print("no span matches", style="dim")
        return
    begin = min(node.start for _, node in lines)
    whole = max(max(node.end for _, node in lines) - begin, 1e-9)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=MAX_NAME)
    table.add_column(no_wrap=True, width=BAR)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for depth, node in lines:
        table.add_row(_name(depth, node), _bar(node, begin, whole), _duration(node.seconds), _notes(node))
    target.print(table)
    tokens, cost = totals(roots)
    spent = (f", {tokens} tokens" if tokens else "") + (f", ${cost:.6f}" if cost else "")
    target.print(f"{len(lines)} lines, {_duration(whole).strip()}{spent}", style="dim")


def _name(depth: int, node: Node) -> Text:
    text = Text("  " * min(depth, MAX_DEPTH))
    text.append(node.name, style="bold red" if node.span.failed else "bold" if depth == 0 else "")
    if node.count > 1:
        text.append(f" x {node.count}", style="yellow")
    return text.append(f"  {node.span.service}", style="dim")


def _bar(node: Node, begin: float, whole: float) -> Text:
    """Return the place of a span in the trace; at least one character."""
    first = min(int((node.start - begin) / whole * BAR), BAR - 1)
    last = max(first + 1, min(round((node.end - begin) / whole * BAR), BAR))
    style = "red" if node.span.failed else "yellow" if node.span.name in ("parked", "queue") else "green"
    return Text(" " * first + "━" * (last - first), style=style)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _notes(node: Node) -> Text:
    text = Text(node.span.error_type if node.span.failed else "", style="red")
    notes = "  ".join(node.notes())
    return text.append(f"{'  ' if text and notes else ''}{notes}", style="dim")
