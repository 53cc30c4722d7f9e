"""`graphmesh bench`: what the mesh costs, measured beside what it is made of, in one run on one machine."""

import typer

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
    from graphmesh_cli.bench.remote import main

    main(calls, rounds, sampling)
