"""The metrics of runs, counted by the worker that executes them."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from graphmesh_chassis.errors import Fenced
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import counter, gauge, histogram

from graphmesh_orchestrator.leases.in_flight import ActiveRun

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
TOKENS = (100, 1000, 5000, 20_000, 100_000, 500_000, 2_000_000)
DOLLARS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 20, 100)

IN_FLIGHT = gauge("langgraph.runs.in_flight", "{run}", "Runs that this process executes", (names.GRAPH,))
"""Under the name by which autoscalers know it."""
ENDED = counter(
    "graphmesh.runs.ended", "{run}", "Runs that have ended", (names.GRAPH, names.GRAPH_VERSION, names.TENANT, names.END)
)
DURATION = histogram(
    "graphmesh.run.duration",
    "s",
    "Runs that have ended, from when they were created, or due, to their end, with the time that they were parked",
    (names.GRAPH, names.END),
)
QUEUED = histogram(
    "graphmesh.run.queue", "s", "Runs, from when they were created, or due, to their first attempt", (names.GRAPH,)
)
NODES = histogram("graphmesh.run.steps", "{step}", "Supersteps of runs that have ended", (names.GRAPH,), STEPS)
TOKENS_OF_RUN = histogram("graphmesh.run.tokens", "{token}", "Tokens of models, a run", (names.GRAPH,), TOKENS)
COST = histogram("graphmesh.run.cost", "USD", "What models have cost, a run", (names.GRAPH,), DOLLARS)
CLAIMED = counter(
    "graphmesh.runs.claimed",
    "{attempt}",
    "Attempts of workers that have begun: first, resumed (parked or released before), taken_over (its worker died)",
    (names.GRAPH, names.END),
)
FENCED = counter(
    "graphmesh.runs.fenced", "{attempt}", "Attempts that ended since another worker has the run", (names.GRAPH,)
)


def observe_in_flight(graphs: Callable[[], Iterable[str]]) -> Callable[[], None]:
    """Observe the graphs of the runs in flight until what is returned is called."""
    return IN_FLIGHT.observe(lambda: [(count, {names.GRAPH: graph}) for graph, count in Counter(graphs()).items()])


def count_claimed(active: ActiveRun, now: datetime) -> None:
    """Count the beginning of an attempt."""
    run = active.run
    graph = {names.GRAPH: run.identity.graph}
    kind = "taken_over" if run.state.takeovers else "first" if run.state.epoch <= 1 else "resumed"
    CLAIMED.add(1, {**graph, names.END: kind})
    if kind == "first":
        QUEUED.record(max(0.0, now.timestamp() - _due(active)), graph)


def count_left(active: ActiveRun) -> None:
    """Count the end of an attempt, and of its run where that has ended."""
    graph = {names.GRAPH: active.run.identity.graph}
    if active.failure == Fenced.reason:
        FENCED.add(1, graph)
    if (run := active.ended) is None or run.state.ended is None:
        return
    usage = run.accounting.usage
    end = {**graph, names.END: run.status.value}
    ENDED.add(1, {**end, names.GRAPH_VERSION: str(run.state.graph_version), names.TENANT: run.identity.tenant})
    DURATION.record(max(0.0, run.state.ended.timestamp() - _due(active)), end)
    NODES.record(usage.steps, graph)
    TOKENS_OF_RUN.record(usage.input_tokens + usage.output_tokens, graph)
    COST.record(usage.cost / 1e6, graph)


def _due(active: ActiveRun) -> float:
    """Return when a run could begin, in seconds since 1970."""
    return max(active.run.request.created.timestamp(), active.run.request.due)
