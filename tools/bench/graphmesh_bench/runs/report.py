"""The report: tables, and JSON for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphmesh_chaos.recovery import percentile
from rich.console import Console
from rich.table import Column, Table

from graphmesh_bench.runs.goals import Cell, Goal, Results, cpu, goals, rate
from graphmesh_bench.runs.histories import Conversation
from graphmesh_bench.runs.memory import Memory
from graphmesh_bench.runs.rounds import Plan, Sample
from graphmesh_bench.runs.variants import VariantName

RATIOS = "Ratios within each round, with the same nodes: median, lowest and highest"
VERDICTS = {True: "[green]met[/]", False: "[red]not met[/]", None: "—"}


@dataclass(frozen=True)
class Report:
    """The results of a plan."""

    plan: Plan
    results: Results
    memory: Memory
    conversations: Sequence[Conversation] = ()
    """With the orchestrator's checkpointer, and with the official one; empty where none was measured."""

    @property
    def goals(self) -> list[Goal]:
        return goals(self.results, self.memory, self.plan)

    @property
    def cells(self) -> list[Cell]:
        """The samples of each round, by the number of callers."""
        return sorted({(sample.variant, sample.callers) for sample in self.results.samples}, key=_by_callers)

    def print(self, console: Console) -> None:
        console.print(self._costs())
        console.print(self._ratios())
        console.print(
            f"memory, over {self.memory.runs} runs: {self.memory.in_flight / 1024:.1f} KB each in flight, "
            f"{self.memory.parked / 1024:.1f} KB each parked"
        )
        if self.conversations:
            console.print(self._history())
        console.print(self._verdicts())

    def json(self) -> str:
        """The plan, every sample without its single waits, the memory and the goals."""
        document = {
            "plan": asdict(self.plan),
            "samples": [_json_sample(sample) for sample in self.results.samples],
            "memory": asdict(self.memory),
            "conversations": [asdict(conversation) for conversation in self.conversations],
            "goals": [asdict(goal) for goal in self.goals],
        }
        return json.dumps(document, indent=2)

    def _costs(self) -> Table:
        title = f"graphmesh bench runs: medians of {self.plan.repeats} rounds, {self.plan.state_kb} KB of state"
        table = Table("callers", Column("variant", no_wrap=True), title=title)
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for name, callers in self.cells:
            numbers = [self.results.median(measure, name, callers) for measure in COLUMNS.values()]
            table.add_row(f"{callers:,}", name, *map(_number, numbers))
        return table

    def _ratios(self) -> Table:
        """They stay the same on a machine that changes its speed between rounds."""
        orchestrator = Column(f"{VariantName.ORCHESTRATOR} / …", no_wrap=True)
        table = Table("callers", orchestrator, "runs/s", "CPU a run", title=RATIOS)
        for name, callers in self.cells:
            if name is name.baseline or callers not in self.plan.callers:
                continue
            cells = ((name.baseline, callers), (name, callers))
            table.add_row(str(callers), name, *(str(self.results.ratio(measure, *cells)) for measure in (rate, cpu)))
        return table

    def _history(self) -> Table:
        table = Table("one thread", title=f"A conversation of {self.conversations[0].turns:,} turns")
        for column in CONVERSATION_COLUMNS:
            table.add_column(column, justify="right")
        savers = (VariantName.LOG_SAVER, VariantName.POSTGRES_SAVER)
        for name, conversation in zip(savers, self.conversations, strict=True):
            table.add_row(name, *(_number(measure(conversation)) for measure in CONVERSATION_COLUMNS.values()))
        return table

    def _verdicts(self) -> Table:
        table = Table("goal", "measured", "", title="Goals")
        for goal in self.goals:
            table.add_row(goal.text, goal.measured, VERDICTS[goal.met])
        return table


def _json_sample(sample: Sample) -> Mapping[str, Any]:
    return {
        "kind": sample.variant,
        "callers": sample.callers,
        "runs": sample.runs,
        "seconds": sample.seconds,
        "waits": None,
        "failed": sample.failed,
        "cost": asdict(sample.usage),
        "p50": _milliseconds(0.5)(sample),
        "p99": _milliseconds(0.99)(sample),
    }


def _by_callers(cell: Cell) -> tuple[int, int]:
    name, callers = cell
    return callers, list(VariantName).index(name)


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 or not value else 2}f}"


def _milliseconds(share: float) -> Callable[[Sample], float]:
    """The percentile of the waits."""
    return lambda sample: percentile(sample.waits, share) * 1000


CONVERSATION_COLUMNS: dict[str, Callable[[Conversation], float]] = {
    "KB a turn, first fifth": lambda conversation: conversation.first_bytes / 1024,
    "KB a turn, last fifth": lambda conversation: conversation.last_bytes / 1024,
    "CPU ms a turn": lambda conversation: conversation.cpu_ms,
    "page of 50 ms": lambda conversation: conversation.page_ms,
}
COLUMNS: dict[str, Callable[[Sample], float]] = {
    "runs/s": rate,
    "p50 ms": _milliseconds(0.5),
    "p99 ms": _milliseconds(0.99),
    "CPU ms a run": cpu,
    "writes a run": lambda sample: sample.writes,
    "WAL KB a run": lambda sample: sample.wal / 1024,
    "failed": lambda sample: sample.failed,
}
"""CPU is that of all processes but the client, including Envoy and the service; of an in-process run, with the client.
Writes are write transactions."""
