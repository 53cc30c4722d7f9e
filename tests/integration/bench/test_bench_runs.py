"""`graphmesh bench runs`, as small as it can be: its report is complete, whatever it says of speed."""

import json
from io import StringIO

import psutil
import pytest
from graphmesh_bench.measures import Ratio, percentile
from graphmesh_bench.runs.command import measured
from graphmesh_bench.runs.kinds import Name
from graphmesh_bench.runs.rounds import Plan
from rich.console import Console

ONLY = {Name.MESH_LOG: {1}, Name.MESH_ON_OFFICIAL: {16}, Name.PAIR: {16}}
"""Kinds that are measured only at the callers that their goals speak of."""
PLAN = Plan(seconds=0.05, repeats=1, callers=(1, 16), crowd=20, flush_ms=1, rows=50, memory_runs=2)


def children() -> list[psutil.Process]:
    """The processes below this one; other tests may have left servers to the session."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


@pytest.mark.timeout(300)
async def test_the_report_is_complete() -> None:
    """Every kind is measured at the callers that matter, every goal is judged, and nothing is left."""
    before, stages = set(children()), list[str]()
    report = await measured(PLAN, stages.append)
    assert stages == ["Warming up", "Round 1 of 1", "Memory"]
    expected = {(name, callers) for name in Name for callers in ONLY.get(name, PLAN.callers)} | {(Name.SYNC, 20)}
    assert set(report.cells) == expected
    assert all(len(report.results.of(*cell)) == PLAN.repeats for cell in report.cells)
    assert all(sample.runs == len(sample.waits) > 0 == sample.failed for sample in report.results.samples)
    assert [goal.text for goal in report.goals if goal.met is None] == [
        "runs/s at 16 callers ≥ 2× the orchestrator on AsyncPostgresSaver"
    ]
    assert not set(children()) - before

    shown = StringIO()
    report.show(Console(file=shown, width=200))
    assert all(name in shown.getvalue() for name in Name)
    written = json.loads(report.json())
    assert len(written["samples"]) == len(report.results.samples)
    assert [goal["text"] for goal in written["goals"]] == [goal.text for goal in report.goals]


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine at half its speed in one round changes neither the median nor the spread."""
    assert Ratio.paired([2, 4, 8], [1, 2, 4]) == Ratio(2, 2, 2)
    assert str(Ratio.paired([1, 3], [1, 1])) == "2.00× (1.00 to 3.00)"


def test_percentiles() -> None:
    """They are values that were measured."""
    assert [percentile(list(range(100)), share) for share in (0.5, 0.99)] == [50, 99]
    assert percentile([4.0], 0.5) == 4.0
