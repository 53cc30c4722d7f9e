"""The goals, and the measures that they are judged by."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from graphmesh_chaos.recovery import percentile

from graphmesh_bench.measures import Ratio
from graphmesh_bench.runs.memory import Memory
from graphmesh_bench.runs.rounds import Plan, Sample
from graphmesh_bench.runs.variants import MESH, VariantName

SAME_COST = 1.1
"""A ratio of costs up to this is no difference, within the precision of this benchmark."""
STRICTER = "stricter, without remote nodes: "
"""Nodes in process do nothing, so the ratio is of overhead only."""
PAGE_BYTES = 1024
"""Bytes a run within the precision of memory, which is allocated in pages."""

Measure = Callable[[Sample], float]
Cell = tuple[VariantName, int]
"""A variant at a number of callers."""


@dataclass(frozen=True)
class Goal:
    text: str
    measured: str
    met: bool | None
    """None: not measured with these options."""


@dataclass(frozen=True)
class Results:
    """All samples, in the order of their rounds."""

    samples: Sequence[Sample]

    def of(self, name: VariantName, callers: int) -> list[Sample]:
        """One sample for each round."""
        return [sample for sample in self.samples if (sample.variant, sample.callers) == (name, callers)]

    def ratio(self, measure: Measure, numerator: Cell, denominator: Cell) -> Ratio:
        return Ratio.paired(
            [measure(sample) for sample in self.of(*numerator)], [measure(sample) for sample in self.of(*denominator)]
        )

    def median(self, measure: Measure, name: VariantName, callers: int) -> float:
        return statistics.median(measure(sample) for sample in self.of(name, callers))


def rate(sample: Sample) -> float:
    return sample.rate


def cpu(sample: Sample) -> float:
    return sample.cpu


def wal(sample: Sample) -> float:
    return sample.wal


def p50(sample: Sample) -> float:
    return percentile(sample.waits, 0.5)


def goals(results: Results, memory: Memory, plan: Plan) -> list[Goal]:
    """All goals. A goal that these options do not measure names the options that do."""
    return [
        *_throughput(results, plan),
        *_latency(results),
        *_cpu(results, plan),
        *_writes(results),
        *_wal(results, plan),
        *_scaling(results, memory, plan),
    ]


def _throughput(results: Results, plan: Plan) -> Iterator[Goal]:
    """At 16 callers."""
    orchestrator = (VariantName.ORCHESTRATOR, 16)
    ratio = results.ratio(rate, orchestrator, (VariantName.ON_POSTGRES_SAVER, 16))
    mesh_ratio = results.ratio(rate, (VariantName.MESH_ORCHESTRATOR, 16), (VariantName.MESH_ON_POSTGRES_SAVER, 16))
    text = "runs/s at 16 callers ≥ {}× the orchestrator on AsyncPostgresSaver"
    fast, slow = text.format(2), f"{text.format(4)}, with 1 ms on each WAL flush"
    if plan.flush_ms >= 1:
        yield from (_unmeasured(fast, "--flush-ms 0"), _at_least(slow, ratio, 4), _at_least(MESH + slow, mesh_ratio, 4))
    else:
        yield from (_at_least(fast, ratio, 2), _unmeasured(slow, "--flush-ms 1"), _at_least(MESH + fast, mesh_ratio, 2))
    recipe, text = (VariantName.RECIPE, 16), "runs/s at 16 callers ≥ 2× the FastAPI recipe"
    yield _at_least(text, results.ratio(rate, orchestrator, recipe), 2)
    two_processes = results.ratio(rate, (VariantName.TWO_PROCESSES, 16), recipe)
    yield _at_least(f"{text}, in two processes as it has", two_processes, 2)


def _latency(results: Results) -> Iterator[Goal]:
    text = "p50 of a run at 1 caller ≤ 1.3× in process with the same saver"
    mesh_ratio = results.ratio(p50, (VariantName.MESH_ORCHESTRATOR, 1), (VariantName.MESH_LOG_SAVER, 1))
    ratio = results.ratio(p50, (VariantName.ORCHESTRATOR, 1), (VariantName.LOG_SAVER, 1))
    yield _at_most(MESH + text, mesh_ratio, 1.3)
    yield _at_most(STRICTER + text, ratio, 1.3)


def _cpu(results: Results, plan: Plan) -> Iterator[Goal]:
    for prefix, durable, not_durable in (
        (MESH, VariantName.MESH_ORCHESTRATOR, VariantName.MESH_NOT_DURABLE),
        (STRICTER, VariantName.ORCHESTRATOR, VariantName.NOT_DURABLE),
    ):
        for callers in plan.callers:
            text = f"{prefix}CPU a run at {callers} callers ≤ 1.5× without durability"
            yield _at_most(text, results.ratio(cpu, (durable, callers), (not_durable, callers)), 1.5)


def _writes(results: Results) -> Iterator[Goal]:
    for callers, bound in ((1, 8), (16, 2)):
        writes = results.median(lambda sample: sample.writes, VariantName.ORCHESTRATOR, callers)
        text = f"≤ {bound} write transactions a run at {callers} callers"
        yield Goal(text, f"{writes:.2f}", writes <= bound)


def _wal(results: Results, plan: Plan) -> Iterator[Goal]:
    """Bytes of the write-ahead log."""
    size = f"at {plan.state_kb} KB of state"
    for text, ours, official in (
        (
            "WAL of a run ≤ the orchestrator's on AsyncPostgresSaver",
            VariantName.ORCHESTRATOR,
            VariantName.ON_POSTGRES_SAVER,
        ),
        (
            "WAL of its checkpoints alone ≤ the official saver's",
            VariantName.LOG_SAVER,
            VariantName.POSTGRES_SAVER,
        ),
        (
            "stricter, with its events and all: WAL of a run ≤ the official saver's checkpoints",
            VariantName.ORCHESTRATOR,
            VariantName.POSTGRES_SAVER,
        ),
    ):
        yield _at_most(f"{text} {size}", results.ratio(wal, (ours, 16), (official, 16)), 1)


def _scaling(results: Results, memory: Memory, plan: Plan) -> Iterator[Goal]:
    """The cost of a run is the same with many parked runs, callers and stored runs."""
    yield Goal("no memory for a parked run", f"{memory.parked:,.0f} bytes", memory.parked < PAGE_BYTES)
    crowd = results.ratio(cpu, (VariantName.ORCHESTRATOR, plan.crowd), (VariantName.ORCHESTRATOR, 1))
    yield _at_most(f"CPU a run at {plan.crowd:,} callers as at 1", crowd, SAME_COST)
    text = f"CPU a run among {plan.rows or 1_000_000:,} stored runs as in an empty table"
    if plan.rows:
        full_table = results.ratio(cpu, (VariantName.FULL_TABLE, 16), (VariantName.ORCHESTRATOR, 16))
        yield _at_most(text, full_table, SAME_COST)
    else:
        yield _unmeasured(text, "--rows 1000000")


def _at_least(text: str, ratio: Ratio, bound: float) -> Goal:
    return Goal(text, str(ratio), ratio.median >= bound)


def _at_most(text: str, ratio: Ratio, bound: float) -> Goal:
    return Goal(text, str(ratio), ratio.median <= bound)


def _unmeasured(text: str, option: str) -> Goal:
    return Goal(text, f"measured by {option}", None)
