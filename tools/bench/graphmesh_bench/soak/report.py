"""What a soak has found, for people and programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from graphmesh_bench.soak.plan import Figure, Plan, Sample, Tally
from graphmesh_bench.soak.trends import Trend, Verdict, trend

STYLES = {Verdict.GROWS: "yellow", Verdict.LEVEL: "green", Verdict.UNKNOWN: "dim"}


@dataclass(frozen=True)
class Report:
    plan: Plan
    samples: list[Sample]
    """In their order; the last one is of the end of the time."""
    tally: Tally

    @property
    def succeeded(self) -> bool:
        """Whether every run went as it should. No number fails."""
        return not self.tally.failures

    @property
    def trends(self) -> Mapping[Figure, Trend]:
        """Of every figure in the last sample."""
        series: dict[Figure, list[tuple[float, float]]] = {figure: [] for figure in self.samples[-1].figures}
        for sample in self.samples:
            for figure in series.keys() & sample.figures.keys():
                series[figure].append((sample.at, sample.figures[figure]))
        return {figure: trend(points, self.samples[-1].at) for figure, points in series.items()}

    def show(self, console: Console) -> None:
        """Figures that were 0 all the time are left out."""
        console.print(self._table())
        ended = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.tally.runs.items()))
        console.print(f"{self.tally.runs.total():,} runs went as they should: {ended}", highlight=False)
        for reason, count in self.tally.failures.most_common():
            console.print(f"{count:,} × {reason}", style="red", markup=False)

    def json(self) -> str:
        """The plan, all samples, the trends and the tally; figures are named `whose: what`."""
        samples = [{**asdict(sample), "figures": _named(sample.figures)} for sample in self.samples]
        trends = _named({figure: asdict(made) for figure, made in self.trends.items()})
        ended = {"runs": self.tally.runs, "failures": self.tally.failures}
        return json.dumps({"plan": asdict(self.plan), **ended, "trends": trends, "samples": samples}, indent=2)

    def _table(self) -> Table:
        minutes = self.samples[-1].at / 60
        title = f"graphmesh bench soak: {minutes:.1f} minutes, {self.plan.callers} callers"
        table = Table(Column("", overflow="fold"), Column("figure", overflow="fold"), title=title)
        for column in ("first", "last", "an hour"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        before = ""
        for (whose, what), made in self.trends.items():
            if not any(sample.figures.get((whose, what)) for sample in self.samples):
                continue
            style = STYLES[made.verdict]
            numbers = (_number(made.first), _number(made.last), _number(made.hourly, "+"))
            table.add_row("" if whose == before else whose, what, *numbers, f"[{style}]{made.verdict}[/]")
            before = whose
        return table


def _named(figures: Mapping[Figure, Any]) -> Mapping[str, Any]:
    return {f"{whose}: {what}": value for (whose, what), value in figures.items()}


def _number(value: float, sign: str = "") -> str:
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 2
    return f"{value:{sign},.{digits}f}"
