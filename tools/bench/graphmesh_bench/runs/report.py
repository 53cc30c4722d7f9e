"""The report: tables for people, JSON for programs."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Column, Table

from graphmesh_bench.measures import percentile
from graphmesh_bench.runs.goals import Goal, Results, cpu, goals, rate
from graphmesh_bench.runs.kinds import Name
from graphmesh_bench.runs.memory import Memory
from graphmesh_bench.runs.rounds import Plan, Sample

RATIOS = "Ratios within each round, with the same nodes: the median, and the extremes"
VERDICTS = {True: "[green]met[/]", False: "[red]not met[/]", None: "—"}


@dataclass(frozen=True)
class Report:
    """What was measured, and under what plan."""

    plan: Plan
    results: Results
    memory: Memory

    @property
    def goals(self) -> list[Goal]:
        return goals(self.results, self.memory, self.plan)

    @property
    def cells(self) -> list[tuple[Name, int]]:
        """What was measured in each round: a kind at a number of callers."""
        return sorted({(sample.kind, sample.callers) for sample in self.results.samples}, key=_by_callers)

    def show(self, console: Console) -> None:
        console.print(self._costs())
        console.print(self._ratios())
        console.print(
            f"memory, over {self.memory.runs} runs: {self.memory.in_flight / 1024:.1f} KB each in flight, "
            f"{self.memory.parked / 1024:.1f} KB each parked"
        )
        console.print(self._verdicts())

    def json(self) -> str:
        """The plan, every sample without its single waits, the memory and the goals."""
        samples = [
            {**asdict(sample), "waits": None, "p50": _percentile(0.5)(sample), "p99": _percentile(0.99)(sample)}
            for sample in self.results.samples
        ]
        made = {"plan": asdict(self.plan), "samples": samples, "memory": asdict(self.memory)}
        return json.dumps({**made, "goals": [asdict(goal) for goal in self.goals]}, indent=2)

    def _costs(self) -> Table:
        title = f"graphmesh bench runs: medians of {self.plan.repeats} rounds, {self.plan.state_kb} KB of state"
        table = Table("callers", Column("kind", no_wrap=True), title=title)
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for name, callers in self.cells:
            numbers = [self.results.median(measure, name, callers) for measure in COLUMNS.values()]
            table.add_row(
                f"{callers:,}", name, *(f"{number:,.{0 if number >= 100 or not number else 2}f}" for number in numbers)
            )
        return table

    def _ratios(self) -> Table:
        """A machine that changes its speed between rounds does not change them."""
        table = Table("callers", Column(f"{Name.SYNC} / …", no_wrap=True), "runs/s", "CPU a run", title=RATIOS)
        for name, callers in self.cells:
            if name is name.orchestrator or callers not in self.plan.callers:
                continue
            pair = ((name.orchestrator, callers), (name, callers))
            table.add_row(str(callers), name, *(str(self.results.ratio(measure, *pair)) for measure in (rate, cpu)))
        return table

    def _verdicts(self) -> Table:
        table = Table("goal", "measured", "", title="Goals")
        for goal in self.goals:
            table.add_row(goal.text, goal.measured, VERDICTS[goal.met])
        return table


def _by_callers(cell: tuple[Name, int]) -> tuple[int, int]:
    name, callers = cell
    return callers, list(Name).index(name)


def _percentile(share: float) -> Callable[[Sample], float]:
    """In milliseconds."""
    return lambda sample: percentile(sample.waits, share) * 1000


COLUMNS: dict[str, Callable[[Sample], float]] = {
    "runs/s": rate,
    "p50 ms": _percentile(0.5),
    "p99 ms": _percentile(0.99),
    "CPU ms a run": cpu,
    "writes a run": lambda sample: sample.writes,
    "WAL KB a run": lambda sample: sample.wal / 1024,
    "failed": lambda sample: sample.failed,
}
"""CPU is that of everything but the client, Envoy and the service included; of an in-process run, with the client.
Writes are write transactions."""
