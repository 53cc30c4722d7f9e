"""`graphmesh bench runs` with the smallest parameters: its report is complete. Its numbers are not asserted."""

import json
from io import StringIO

import pytest
from graphmesh_bench.runs.command import measure
from graphmesh_bench.runs.rounds import Plan
from graphmesh_bench.runs.variants import VariantName
from rich.console import Console

from tests.integration.bench.descendants import descendants, left_since

CALLERS = {
    VariantName.MESH_LOG_SAVER: {1},
    VariantName.MESH_ON_POSTGRES_SAVER: {16},
    VariantName.TWO_PROCESSES: {16},
}
"""Variants that are measured only at the numbers of callers of their goals."""
PLAN = Plan(seconds=0.05, repeats=1, callers=(1, 16), crowd=20, flush_ms=1, rows=50, memory_runs=2, turns=5)


@pytest.mark.timeout(600)
async def test_report_is_complete() -> None:
    """Every variant is measured at all its numbers of callers, every goal is judged, and no process is left."""
    before, stages = descendants(), list[str]()
    report = await measure(PLAN, stages.append)
    assert stages == ["Warming up", "Round 1 of 1", "Memory", "Conversation"]
    expected = {(name, callers) for name in VariantName for callers in CALLERS.get(name, PLAN.callers)}
    expected.add((VariantName.ORCHESTRATOR, 20))
    assert set(report.cells) == expected
    assert all(len(report.results.of(*cell)) == PLAN.repeats for cell in report.cells)
    assert all(sample.runs == len(sample.waits) > 0 == sample.failed for sample in report.results.samples)
    assert [goal.text for goal in report.goals if goal.met is None] == [
        "runs/s at 16 callers ≥ 2× the orchestrator on AsyncPostgresSaver"
    ]
    assert not left_since(before)

    printed = StringIO()
    report.print(Console(file=printed, width=200))
    assert all(name in printed.getvalue() for name in VariantName)
    assert "A conversation of 5 turns" in printed.getvalue()
    written = json.loads(report.json())
    assert len(written["samples"]) == len(report.results.samples)
    assert [conversation["turns"] for conversation in written["conversations"]] == [5, 5]
    assert [goal["text"] for goal in written["goals"]] == [goal.text for goal in report.goals]
