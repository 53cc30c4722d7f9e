"""`graphmesh bench`: the cost of the mesh, measured beside that of its parts, in one execution on one machine."""

from pathlib import Path
from typing import Annotated, Literal

import typer

SOAK_STATE = Path(".graphmesh/soak")

app = typer.Typer(add_completion=False, help="Measure the cost of the mesh beside that of its parts.")


@app.callback()
def bench() -> None:
    """Measure the cost of the mesh beside that of its parts."""


@app.command("remote")
def bench_remote(
    calls: int = typer.Option(100, min=1, max=100_000, help="Calls of each variant in a round."),
    rounds: int = typer.Option(25, min=1, max=1000, help="Rounds; each measures every variant once."),
    sampling: float = typer.Option(0.1, min=0, max=1, help="The share of calls that are traced in the last variant."),
) -> None:
    """A remote node beside the calls that it consists of: p50, p99, calls a second, CPU for each call."""
    from graphmesh_bench.remote import main

    main(calls, rounds, sampling)


@app.command("runs")
def bench_runs(
    seconds: Annotated[float, typer.Option(min=0.05, help="Time of each variant and number of callers a round.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each measures every variant once.")] = 3,
    state_kb: Annotated[int, typer.Option(min=1, help="Size of the state of a run.")] = 2,
    flush_ms: Annotated[float, typer.Option(min=0, max=100, help="Added to each WAL flush: a disk in a cloud.")] = 0,
    rows: Annotated[int, typer.Option(min=0, help="Also measure with so many stored runs; 1,000,000 take time.")] = 0,
    crowd: Annotated[int, typer.Option(min=1, max=1500, help="Concurrent callers to compare with one.")] = 1000,
    memory_runs: Annotated[int, typer.Option(min=1, max=200, help="Runs over which memory is measured.")] = 200,
    turns: Annotated[int, typer.Option(min=0, help="Also measure so many turns of a conversation on one thread.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the plan, all samples and the goals to this file.")] = None,
) -> None:
    """Durable runs beside the same graph with other durability or none, on one PostgreSQL.

    Reports which goals are met. Never fails for a number.
    """
    from graphmesh_bench.runs.command import main
    from graphmesh_bench.runs.rounds import Plan

    main(
        Plan(
            seconds,
            repeats,
            crowd=crowd,
            state_kb=state_kb,
            flush_ms=flush_ms,
            rows=rows,
            memory_runs=memory_runs,
            turns=turns,
        ),
        json,
    )


@app.command("compare")
def bench_compare(
    python: Annotated[Path, typer.Argument(exists=True, help="The interpreter of another checkout's environment.")],
    pairs: Annotated[int, typer.Option(min=1, max=1000, help="Turns of each checkout with each load.")] = 40,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Runs in a turn.")] = 64,
    callers: Annotated[int, typer.Option(min=1, max=1000, help="Concurrent callers.")] = 16,
) -> None:
    """The CPU of runs and calls here, beside that of another checkout, which gets the same load in turns.

    Never fails for a number.
    """
    from graphmesh_bench.compare import Plan, main

    main(python, Plan(pairs, runs, callers))


@app.command("telemetry")
def bench_telemetry(
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds; each measures every variant once.")] = 24,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Runs in a turn.")] = 64,
    callers: Annotated[int, typer.Option(min=1, max=1000, help="Concurrent callers.")] = 16,
) -> None:
    """Runs with metrics, logs, and traces of none, a tenth and all of them, beside the same runs without.

    Never fails for a number.
    """
    from graphmesh_bench.telemetry import Plan, main

    main(Plan(rounds, runs, callers))


@app.command("rates")
def bench_rates(
    callers: Annotated[
        int, typer.Option(min=1, max=5000, help="Concurrent callers; refused ones retry in time.")
    ] = 500,
    calls: Annotated[int, typer.Option(min=1, max=100_000, help="Calls of the tenant in a period.")] = 300,
    period: Annotated[int, typer.Option(min=1, max=3600, help="Seconds of the period.")] = 10,
    periods: Annotated[int, typer.Option(min=1, max=1000, help="Periods under load.")] = 4,
) -> None:
    """A tenant's rate under many callers: the most calls in any window, and the share of it that is used.

    Over two Envoys, two orchestrators, and new servers of PostgreSQL and Redis. Never fails for a number.
    """
    from graphmesh_bench.rates import Plan, main

    main(Plan(callers, calls, period, periods))


@app.command("retrieval")
def bench_retrieval(
    passages: Annotated[int, typer.Option(min=1, max=10_000_000, help="Passages of the synthetic corpus.")] = 16_000,
    database: Annotated[Literal["sqlite", "postgresql", "both"], typer.Option(help="The database.")] = "both",
    queries: Annotated[int, typer.Option(min=1, max=100_000, help="Queries, one after the other.")] = 200,
    quality: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Measure the ranking of this set of questions; repeatable."),
    ] = None,
    embedder: Annotated[str, typer.Option(help="With --quality: also rank by meaning, with minilm.")] = "",
    url: Annotated[
        str, typer.Option(help="Measure over this database, which keeps its passages: only missing ones are ingested.")
    ] = "",
) -> None:
    """The speed of ingestion and search over many passages, beside the database's own full-text search.

    With --quality, recall, MRR and nDCG of the rankings. Everything is in new databases and on this machine, except
    with --url. Never fails for a number.
    """
    from graphmesh_chassis.logs import configure_logs

    from graphmesh_bench.retrieval.command import main, show_quality

    configure_logs("bench", "error")
    if quality:
        return show_quality(quality, embedder)
    return main([url] if url else ["sqlite", "postgresql"] if database == "both" else [database], passages, queries)


@app.command("soak")
def bench_soak(
    minutes: Annotated[float, typer.Option(min=0.01, help="Time under load.")] = 60,
    callers: Annotated[int, typer.Option(min=1, max=200, help="Concurrent callers; each begins a run a second.")] = 8,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two samples.")] = 30,
    state: Annotated[Path, typer.Option(help="Folder of the mesh; emptied at the beginning.")] = SOAK_STATE,
    json: Annotated[Path | None, typer.Option(help="Write the plan, all samples and the trends to this file.")] = None,
) -> None:
    """A mesh under a steady load for long, and whether its memory, connections or tables grow.

    Runs are waited for, streamed, parked, cancelled and repeated; ended ones are kept for a minute. Exits with 1 if a
    run failed, never for a number.
    """
    from graphmesh_bench.soak.command import main
    from graphmesh_bench.soak.plan import Plan

    main(Plan(minutes * 60, every, callers), state, json)
