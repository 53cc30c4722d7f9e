"""The command `graphmesh bench retrieval`."""

import asyncio
from collections.abc import Sequence

import typer
from graphmesh_local.child_process import ProcessError
from rich.console import Console
from rich.table import Table

from graphmesh_bench.retrieval.speed import SpeedResult, Times, measure_speed


def main(databases: Sequence[str], passages: int, queries: int) -> None:
    """Measure speed over each database, and print the table."""
    console = Console(highlight=False)
    table = Table(title=f"graphmesh bench retrieval: {passages:,} passages, {queries} queries one after the other")
    for heading in ("search over", "passages/s ingested", "p50 ms", "p99 ms", "found", "failed"):
        table.add_column(heading, justify="left" if heading == "search over" else "right")
    lines = []
    try:
        with console.status("Starting") as status:
            for database in databases:
                result = asyncio.run(measure_speed(database, passages, queries, status.update))
                _add_rows(table, result, queries)
                lines.append(
                    f"{database}: p50 {result.search.p50 / result.plain.p50:.2f}× that of its own full-text search"
                )
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    console.print(table)
    for line in lines:
        console.print(line)


def _add_rows(table: Table, result: SpeedResult, queries: int) -> None:
    own = {"sqlite": "FTS5", "postgresql": "tsvector, GIN, ts_rank"}[result.database]
    _add_row(table, f"{result.database}, retrieval over gRPC", result.ingested_per_second, result.search, queries)
    _add_row(table, f"{result.database}, {own}", result.plain_ingested_per_second, result.plain, queries)


def _add_row(table: Table, name: str, rate: float, times: Times, queries: int) -> None:
    found = f"{times.found / queries:.0%}"
    table.add_row(name, f"{rate:,.0f}", f"{times.p50:.1f}", f"{times.p99:.1f}", found, str(times.failed))
