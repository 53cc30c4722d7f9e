"""`graphmesh bench soak`, as short as it can be: its report is complete, and every kind of run went as it should."""

import json
from collections import Counter
from io import StringIO
from pathlib import Path

import psutil
import pytest
from graphmesh_bench.soak.command import soak
from graphmesh_bench.soak.plan import Plan, Sample, Tally
from graphmesh_bench.soak.report import Report
from rich.console import Console

KINDS = {"synchronous", "streamed", "approved", "stopped", "withdrawn", "repeated", "talking"}
PROCESSES = {"billing", "ticketing", "envoy", "orchestrator-1", "orchestrator-2", "redis"}
HELD = {"RSS MB", "open files", "threads", "TCP connections"}
TABLES = {
    *(f"orchestrator.{name}" for name in ("checkpoints", "task_writes", "run_events", "runs", "threads", "interrupts")),
    *(f"orchestrator.{name}" for name in ("deliveries", "artifacts")),
    *(f"{service}.effects" for service in ("billing", "ticketing")),
}


@pytest.mark.timeout(300)
async def test_the_report_is_complete(tmp_path: Path) -> None:
    """Runs of all kinds succeed; each process, connection and table is looked at; nothing is left."""
    before = set(psutil.Process().children(recursive=True))
    report = await soak(Plan(seconds=2, every=0.25, callers=2), tmp_path / "state", lambda said: None)
    assert report.succeeded
    assert report.tally.runs.keys() == KINDS
    assert not set(psutil.Process().children(recursive=True)) - before

    assert report.trends.keys() >= {(process, what) for process in PROCESSES for what in HELD}
    last = report.samples[-1].figures
    assert all(last[process, what] > 0 for process in PROCESSES for what in HELD)
    assert last["orchestrator's PostgreSQL", "idle backends"] > 0
    assert ("orchestrator's PostgreSQL", "oldest transaction s") in last
    assert all(last[table, "rows"] > 0 and last[table, "MB"] > 0 for table in TABLES)
    assert (report.samples[-1].runs, report.samples[-1].failed) == (report.tally.runs.total(), 0)

    shown = StringIO()
    report.show(Console(file=shown, width=200))
    assert all(word in shown.getvalue() for word in (*KINDS, *PROCESSES, *HELD, *TABLES))
    written = json.loads(report.json())
    assert set(written["trends"]["billing: RSS MB"]) == {"first", "last", "hourly", "verdict"}
    assert [sample["runs"] for sample in written["samples"]] == [sample.runs for sample in report.samples]
    assert written["samples"][-1]["figures"]["redis: threads"] == last["redis", "threads"]
    assert written["runs"] == report.tally.runs


def test_runs_that_fail_are_told_and_fail_it() -> None:
    """By their kind and reason. A number, however large, fails nothing."""
    grown = [Sample(float(at), {("billing", "RSS MB"): 10.0**at}) for at in range(10)]
    tally = Tally(Counter(streamed=3))
    assert Report(Plan(9, 1, 1), grown, tally).succeeded
    tally.failures["streamed: NODE_FAILED"] += 2
    failed, shown = Report(Plan(9, 1, 1), grown, tally), StringIO()
    failed.show(Console(file=shown, width=200))
    assert not failed.succeeded
    assert "2 × streamed: NODE_FAILED" in shown.getvalue()
    assert "grows" in shown.getvalue()
