"""The report of a soak test: a table, and JSON for programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from graphmesh_bench.soak.plan import Figure, Outcomes, Plan, Sample
from graphmesh_bench.soak.trends import Trend, Verdict, trend

STYLES = {Verdict.GROWS: "yellow", Verdict.LEVEL: "green", Verdict.UNKNOWN: "dim"}


@dataclass(frozen=True)
class Report:
    plan: Plan
    samples: list[Sample]
    """In the order of time; the last one is of the end of the load."""
    outcomes: Outcomes

    @property
    def succeeded(self) -> bool:
        """True if every run had the expected outcome. No figure fails a soak test."""
        return not self.outcomes.failures

    @property
    def trends(self) -> Mapping[Figure, Trend]:
        """The trend of every figure in the last sample."""
        series: dict[Figure, list[tuple[float, float]]] = {figure: [] for figure in self.samples[-1].figures}
        for sample in self.samples:
            for figure in series.keys() & sample.figures.keys():
                series[figure].append((sample.at, sample.figures[figure]))
        return {figure: trend(points, self.samples[-1].at) for figure, points in series.items()}

    def print(self, console: Console) -> None:
        """Figures that are 0 in all samples are left out."""
        console.print(self._table())
        cases = ", ".join(f"{count:,} {case}" for case, count in sorted(self.outcomes.runs.items()))
        console.print(f"{self.outcomes.runs.total():,} runs with the expected outcome: {cases}", highlight=False)
        for reason, count in self.outcomes.failures.most_common():
            console.print(f"{count:,} × {reason}", style="red", markup=False)

    def json(self) -> str:
        """The plan, all samples, the trends and the outcomes; figures are named `subject: measure`."""
        samples = [{**asdict(sample), "figures": _by_name(sample.figures)} for sample in self.samples]
        trends = _by_name({figure: asdict(one) for figure, one in self.trends.items()})
        outcomes = {"runs": self.outcomes.runs, "failures": self.outcomes.failures}
        return json.dumps({"plan": asdict(self.plan), **outcomes, "trends": trends, "samples": samples}, indent=2)

    def _table(self) -> Table:
        minutes = self.samples[-1].at / 60
        title = f"graphmesh bench soak: {minutes:.1f} minutes, {self.plan.callers} callers"
        table = Table(Column("", overflow="fold"), Column("figure", overflow="fold"), title=title)
        for column in ("first", "last", "an hour"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        previous = ""
        for (subject, measure), one in self.trends.items():
            if any(sample.figures.get((subject, measure)) for sample in self.samples):
                numbers = (_number(one.first), _number(one.last), _number(one.hourly, "+"))
                label = "" if subject == previous else subject
                table.add_row(label, measure, *numbers, f"[{STYLES[one.verdict]}]{one.verdict}[/]")
                previous = subject
        return table


def _by_name(figures: Mapping[Figure, Any]) -> Mapping[str, Any]:
    return {f"{subject}: {measure}": value for (subject, measure), value in figures.items()}


def _number(value: float, sign: str = "") -> str:
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 2
    return f"{value:{sign},.{digits}f}"
