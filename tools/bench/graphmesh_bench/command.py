"""`graphmesh bench`: what the mesh costs, measured beside what it is made of, in one run on one machine."""

from pathlib import Path
from typing import Annotated

import typer

SOAK_STATE = Path(".graphmesh/soak")

app = typer.Typer(add_completion=False, help="Measure what the mesh costs, beside what it is made of.")


@app.callback()
def bench() -> None:
    """Measure what the mesh costs, beside what it is made of."""


@app.command("remote")
def bench_remote(
    calls: int = typer.Option(400, help="Calls of each kind in a round."),
    rounds: int = typer.Option(7, help="Rounds; in each, every kind is measured once."),
    sampling: float = typer.Option(0.1, help="The share of calls that are traced in the last kind."),
) -> None:
    """A remote node against the parts that it is made of: p50, p99, calls per second, CPU for each call."""
    from graphmesh_bench.remote import main

    main(calls, rounds, sampling)


@app.command("runs")
def bench_runs(
    seconds: Annotated[float, typer.Option(min=0.05, help="For each kind at each number of callers in a round.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; in each, every kind is measured.")] = 3,
    state_kb: Annotated[int, typer.Option(min=1, help="How large the state of a run becomes.")] = 2,
    flush_ms: Annotated[float, typer.Option(min=0, max=100, help="Added to each WAL flush: a disk in a cloud.")] = 0,
    rows: Annotated[int, typer.Option(min=0, help="Also measure among so many stored runs; 1,000,000 take time.")] = 0,
    crowd: Annotated[int, typer.Option(min=1, max=1500, help="Callers at once, against one.")] = 1000,
    memory_runs: Annotated[int, typer.Option(min=1, max=200, help="Runs over which memory is measured.")] = 200,
    json: Annotated[Path | None, typer.Option(help="Write all that was measured to this file.")] = None,
) -> None:
    """Durable runs beside the same graph without and with other durability, on one PostgreSQL.

    Says which goals are met; never fails for a number.
    """
    from graphmesh_bench.runs.command import main
    from graphmesh_bench.runs.rounds import Plan

    main(
        Plan(seconds, repeats, crowd=crowd, state_kb=state_kb, flush_ms=flush_ms, rows=rows, memory_runs=memory_runs),
        json,
    )


@app.command("soak")
def bench_soak(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long the mesh is under load.")] = 60,
    callers: Annotated[int, typer.Option(min=1, max=200, help="Each begins a run a second, one after the other.")] = 8,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two samples.")] = 30,
    state: Annotated[Path, typer.Option(help="The mesh's folder; emptied at the beginning.")] = SOAK_STATE,
    json: Annotated[Path | None, typer.Option(help="Write all that was measured to this file.")] = None,
) -> None:
    """A mesh under a steady load for long: whether its memory, connections and tables grow.

    Runs wait, stream, park, are cancelled and repeated; ended ones are kept for a minute. Exits with 1 where a run
    failed, never for a number.
    """
    from graphmesh_bench.soak.command import main
    from graphmesh_bench.soak.plan import Plan

    main(Plan(minutes * 60, every, callers), state, json)
