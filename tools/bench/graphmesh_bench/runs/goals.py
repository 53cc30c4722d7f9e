"""The goals, and what was measured of each."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphmesh_bench.measures import Ratio, percentile
from graphmesh_bench.runs.kinds import MESH, Name
from graphmesh_bench.runs.memory import Memory
from graphmesh_bench.runs.rounds import Plan, Sample

FLAT = 1.1
"""Costs that differ by less are the same, as far as can be measured here."""
HARDER = "harder, no mesh: "
"""With nodes that do nothing and are called by nobody, what surrounds them is all that there is."""
PAGES = 1024
"""Bytes a run that are no run's: memory comes in pages."""

Measure = Callable[[Sample], float]


@dataclass(frozen=True)
class Goal:
    """One goal."""

    text: str
    measured: str
    met: bool | None
    """None: not measured in this run."""


@dataclass(frozen=True)
class Results:
    """All samples, in the order of their rounds."""

    samples: Sequence[Sample]

    def of(self, name: Name, callers: int) -> list[Sample]:
        """One for each round."""
        return [sample for sample in self.samples if (sample.kind, sample.callers) == (name, callers)]

    def ratio(self, measure: Measure, one: tuple[Name, int], other: tuple[Name, int]) -> Ratio:
        """Of two kinds, each at a number of callers."""
        return Ratio.paired(
            [measure(sample) for sample in self.of(*one)], [measure(sample) for sample in self.of(*other)]
        )

    def median(self, measure: Measure, name: Name, callers: int) -> float:
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
    """The goals that this run can tell something about, and with what options it could of the others."""
    measured = [_throughput(results, plan), _time(results), _cpu(results, plan), _stored(results, plan)]
    return [goal for some in (*measured, _flatness(results, memory, plan)) for goal in some]


def _throughput(results: Results, plan: Plan) -> list[Goal]:
    """At 16 callers."""
    official = results.ratio(rate, (Name.SYNC, 16), (Name.ON_OFFICIAL, 16))
    on_mesh = results.ratio(rate, (Name.MESH_SYNC, 16), (Name.MESH_ON_OFFICIAL, 16))
    recipe = results.ratio(rate, (Name.SYNC, 16), (Name.RECIPE, 16))
    pair = results.ratio(rate, (Name.PAIR, 16), (Name.RECIPE, 16))
    text = "runs/s at 16 callers ≥ {}× the orchestrator on AsyncPostgresSaver"
    quick, slow = text.format(2), f"{text.format(4)}, with 1 ms on each WAL flush"
    if plan.flush_ms >= 1:
        found = [_unmeasured(quick, "--flush-ms 0"), _at_least(slow, official, 4), _at_least(MESH + slow, on_mesh, 4)]
    else:
        found = [_at_least(quick, official, 2), _unmeasured(slow, "--flush-ms 1"), _at_least(MESH + quick, on_mesh, 2)]
    text = "runs/s at 16 callers ≥ 2× the FastAPI recipe"
    return [*found, _at_least(text, recipe, 2), _at_least(f"{text}, in two processes as it has", pair, 2)]


def _time(results: Results) -> list[Goal]:
    text = "p50 of a run at 1 caller ≤ 1.3× in process with the same saver"
    on_mesh = results.ratio(p50, (Name.MESH_SYNC, 1), (Name.MESH_LOG, 1))
    without = results.ratio(p50, (Name.SYNC, 1), (Name.LOG, 1))
    return [_at_most(MESH + text, on_mesh, 1.3), _at_most(HARDER + text, without, 1.3)]


def _cpu(results: Results, plan: Plan) -> list[Goal]:
    pairs = {MESH: (Name.MESH_SYNC, Name.MESH_NOTHING), HARDER: (Name.SYNC, Name.NOTHING)}
    return [
        _at_most(
            f"{where}CPU a run at {callers} callers ≤ 1.5× with nothing durable",
            results.ratio(cpu, (durable, callers), (nothing, callers)),
            1.5,
        )
        for where, (durable, nothing) in pairs.items()
        for callers in plan.callers
    ]


def _stored(results: Results, plan: Plan) -> list[Goal]:
    """Write transactions and bytes."""
    found = []
    for callers, bound in ((1, 8), (16, 2)):
        writes = results.median(lambda sample: sample.writes, Name.SYNC, callers)
        text = f"≤ {bound} write transactions a run at {callers} callers"
        found.append(Goal(text, f"{writes:.2f}", writes <= bound))
    size = f"at {plan.state_kb} KB of state"
    for text, ours, theirs in (
        ("WAL of a run ≤ the orchestrator's on AsyncPostgresSaver", Name.SYNC, Name.ON_OFFICIAL),
        ("WAL of its checkpoints alone ≤ the official saver's", Name.LOG, Name.OFFICIAL),
        ("harder, with its events and all: WAL of a run ≤ the official saver's checkpoints", Name.SYNC, Name.OFFICIAL),
    ):
        found.append(_at_most(f"{text} {size}", results.ratio(wal, (ours, 16), (theirs, 16)), 1))
    return found


def _flatness(results: Results, memory: Memory, plan: Plan) -> list[Goal]:
    crowd = results.ratio(cpu, (Name.SYNC, plan.crowd), (Name.SYNC, 1))
    stored = f"CPU a run among {plan.rows or 1_000_000:,} stored runs as in an empty table"
    return [
        Goal("memory of a parked run 0", f"{memory.parked:,.0f} bytes", memory.parked < PAGES),
        _at_most(f"CPU a run at {plan.crowd:,} callers as at 1", crowd, FLAT),
        _at_most(stored, results.ratio(cpu, (Name.FULL, 16), (Name.SYNC, 16)), FLAT)
        if plan.rows
        else _unmeasured(stored, "--rows 1000000"),
    ]


def _at_least(text: str, ratio: Ratio, bound: float) -> Goal:
    return Goal(text, str(ratio), ratio.median >= bound)


def _at_most(text: str, ratio: Ratio, bound: float) -> Goal:
    return Goal(text, str(ratio), ratio.median <= bound)


def _unmeasured(text: str, option: str) -> Goal:
    return Goal(text, f"measured by {option}", None)
