"""The command `graphmesh bench retrieval`."""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import typer
from graphmesh_local.child_process import ProcessError
from rich.console import Console
from rich.table import Table

from graphmesh_bench.retrieval.quality import Quality, QualitySet, measure_quality, rankings, read_set
from graphmesh_bench.retrieval.speed import SpeedResult, Times, measure_speed


def main(databases: Sequence[str], passages: int, queries: int) -> None:
    """Measure speed over each database, a new one of a kind or that of a URL, and print the table."""
    console = Console(highlight=False)
    table = Table(title=f"graphmesh bench retrieval: {passages:,} passages, {queries} queries one after the other")
    for heading in ("search over", "passages/s ingested", "p50 ms", "p99 ms", "CPU ms", "found", "failed"):
        table.add_column(heading, justify="left" if heading == "search over" else "right")
    lines = []
    try:
        with console.status("Starting") as status:
            for database in databases:
                result = asyncio.run(measure_speed(database, passages, queries, status.update))
                _add_rows(table, result, queries)
                if result.plain:
                    ratio = result.search.p50 / result.plain.p50
                    lines.append(f"{database}: p50 {ratio:.2f}× that of its own full-text search")
    except ProcessError as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    console.print(table)
    for line in lines:
        console.print(line)


def _add_rows(table: Table, result: SpeedResult, queries: int) -> None:
    own = {"sqlite": "FTS5", "postgresql": "tsvector, GIN, ts_rank"}[result.database]
    _add_row(table, f"{result.database}, retrieval over gRPC", result.ingested_per_second, result.search, queries)
    if result.plain:
        _add_row(table, f"{result.database}, {own}", result.plain_ingested_per_second, result.plain, queries)


def _add_row(table: Table, name: str, rate: float, times: Times, queries: int) -> None:
    found = f"{times.found / queries:.0%}"
    table.add_row(
        name,
        f"{rate:,.0f}" if rate else "",
        f"{times.p50:.1f}",
        f"{times.p99:.1f}",
        f"{times.cpu_milliseconds:.1f}",
        found,
        str(times.failed),
    )


def show_quality(files: Sequence[Path], embedder: str) -> None:
    """Measure the quality of each set, and print the table."""
    table = Table(title="graphmesh bench retrieval: quality")
    for heading in ("set", "ranking", "recall@1", "recall@3", "recall@10", "MRR", "nDCG@10"):
        table.add_column(heading, justify="left" if heading in ("set", "ranking") else "right")
    for file in files:
        quality_set = read_set(file)
        for name, quality in asyncio.run(_qualities(quality_set, embedder)).items():
            table.add_row(quality_set.name, name, *(f"{value:.3f}" for value in astuple(quality)))
    Console(highlight=False).print(table)


async def _qualities(quality_set: QualitySet, embedder: str) -> dict[str, Quality]:
    async with rankings(quality_set, embedder) as found:
        return {name: await measure_quality(quality_set.questions, rank) for name, rank in found.items()}
