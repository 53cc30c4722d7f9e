"""`graphmesh bench soak` with the smallest parameters: its report is complete, and every run has its outcome."""

import json
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from graphmesh_bench.soak.command import soak
from graphmesh_bench.soak.plan import Outcomes, Plan, Sample
from graphmesh_bench.soak.report import Report
from rich.console import Console

from tests.integration.bench.descendants import descendants, left_since

CASES = {
    "synchronous",
    "streamed",
    "approved",
    "cancelled",
    "cancelled_while_parked",
    "repeated",
    "conversation",
}
PROCESSES = {"billing", "ticketing", "envoy", "orchestrator-1", "orchestrator-2", "redis"}
MEASURES = {"RSS MB", "open files", "threads", "TCP connections"}
TABLES = {
    *(f"orchestrator.{name}" for name in ("checkpoints", "task_writes", "run_events", "runs", "threads", "interrupts")),
    *(f"orchestrator.{name}" for name in ("deliveries", "artifacts")),
    *(f"{service}.effects" for service in ("billing", "ticketing")),
}


@pytest.mark.timeout(600)
async def test_report_is_complete(tmp_path: Path) -> None:
    """All cases succeed; each process, connection and table is sampled; no process is left."""
    before = descendants()
    report = await soak(Plan(seconds=2, every=0.25, callers=2), tmp_path / "state", lambda status: None)
    assert report.succeeded
    assert report.outcomes.runs.keys() == CASES
    assert not left_since(before)

    assert report.trends.keys() >= {(process, measure) for process in PROCESSES for measure in MEASURES}
    last = report.samples[-1].figures
    assert all(last[process, measure] > 0 for process in PROCESSES for measure in MEASURES)
    assert last["orchestrator's PostgreSQL", "idle backends"] > 0
    assert ("orchestrator's PostgreSQL", "oldest transaction s") in last
    assert all(last[table, "rows"] > 0 and last[table, "MB"] > 0 for table in TABLES)
    assert (report.samples[-1].runs, report.samples[-1].failed) == (report.outcomes.runs.total(), 0)

    printed = StringIO()
    report.print(Console(file=printed, width=200))
    assert all(word in printed.getvalue() for word in (*CASES, *PROCESSES, *MEASURES, *TABLES))
    written = json.loads(report.json())
    assert set(written["trends"]["billing: RSS MB"]) == {"first", "last", "hourly", "verdict"}
    assert [sample["runs"] for sample in written["samples"]] == [sample.runs for sample in report.samples]
    assert written["samples"][-1]["figures"]["redis: threads"] == last["redis", "threads"]
    assert written["runs"] == report.outcomes.runs


def test_fails_for_failed_runs_only() -> None:
    """The report names their case and reason. No figure fails it, however large."""
    grown = [Sample(float(at), {("billing", "RSS MB"): 10.0**at}) for at in range(10)]
    outcomes = Outcomes(Counter(streamed=3))
    assert Report(Plan(9, 1, 1), grown, outcomes).succeeded
    outcomes.failures["streamed: NODE_FAILED"] += 2
    failed, printed = Report(Plan(9, 1, 1), grown, outcomes), StringIO()
    failed.print(Console(file=printed, width=200))
    assert not failed.succeeded
    assert "2 × streamed: NODE_FAILED" in printed.getvalue()
    assert "grows" in printed.getvalue()
