"""Shows an evaluation in a terminal."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from graphmesh_eval.evaluation import Played
from graphmesh_eval.statistics import Estimate
from graphmesh_eval.summary import Numbers, Summary
from graphmesh_eval.weights import WEIGHTS

MICRO = 1_000_000
NONE = "–"


def show(console: Console, title: str, summary: Summary, played: Sequence[Played]) -> None:
    console.print(_quality(title, summary))
    console.print(_usage(summary))
    if summary.faults:
        console.print(_faults(summary))
    for text in summary.outside:
        console.print(f"outside of the cases: {text}", style="red", markup=False)
    failed = sorted((one for one in played if not one.verdict.success), key=lambda one: -one.verdict.weight)
    for one in failed:
        seen = "; ".join(f"{fault.value}: {text}" for fault, text in one.verdict.faults)
        runs = " ".join(one.transcript.run_ids)
        console.print(f"{one.verdict.weight:>4}  {one.case.id}  {seen}  {runs}", markup=False, soft_wrap=True)


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("cases", "fault") else "right")
    return table


def _quality(title: str, summary: Summary) -> Table:
    headings = ("cases", "n", "success %", "wrong actions %", "wrong money", "weight")
    table = _table(title, (*headings, "precision %", "recall %", "grounded %"))
    for name, one in summary.groups.items():
        table.add_row(
            name,
            str(one.success.count),
            _text(one.success, _percent),
            _text(one.wrong_actions, _percent),
            str(one.wrong_money),
            _text(one.weight, _one),
            _text(one.escalation_precision, _percent),
            _text(one.escalation_recall, _percent),
            _text(one.grounded, _percent),
        )
    return table


def _usage(summary: Summary) -> Table:
    table = _table("", ("cases", "tokens", "cost in $", "p50 s", "p95 s"))
    for name in ("all", "plain", "adversarial"):
        if one := summary.groups.get(name):
            table.add_row(name, *_used(one))
    return table


def _used(one: Numbers) -> tuple[str, ...]:
    return (
        _text(one.tokens, lambda value: f"{value:,.0f}"),
        _text(one.cost_micro_usd, lambda value: f"{value / MICRO:.4f}"),
        _text(one.seconds_p50, _two),
        _text(one.seconds_p95, _two),
    )


def _faults(summary: Summary) -> Table:
    table = _table("", ("fault", "weight", "cases with it"))
    for fault, count in summary.faults.items():
        table.add_row(fault.value, str(WEIGHTS[fault]), str(count))
    return table


def _text(estimate: Estimate, show_value: Callable[[float], str]) -> str:
    """Return `62 (50–73)`."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return NONE
    value, low, high = map(show_value, (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}–{high})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


def _two(value: float) -> str:
    return f"{value:.2f}"
