"""One trace from the client's call to the effect (I1)."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integration.orchestrator import kit as kits


async def test_a_run_is_one_trace_from_its_submission_to_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every call sampled, the spans of CreateRun and of the tools that the run calls share one trace id."""
    spans = InMemorySpanExporter()
    monkeypatch.setattr("graphmesh_chassis.telemetry._exporter", lambda settings: spans)
    monkeypatch.setattr("graphmesh_chassis.telemetry.BatchSpanProcessor", SimpleSpanProcessor)
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_TRACES", "console")
    monkeypatch.setenv("GRAPHMESH_ORCHESTRATOR_TRACE_RATIO", "1")
    async with kits.running(tmp_path) as kit:
        run = await kit.run("pay", invoice_id=await kit.invoice(), amount=5)
        assert kits.notes(run)[-1] == "charged 5"
    traces = {span.name: span.context.trace_id for span in spans.get_finished_spans() if span.context}
    names = [
        "/graphmesh.orchestrator.v1.RunService/CreateRun",
        "/graphmesh.billing.v1.BillingService/GetInvoice",
        "/graphmesh.billing.v1.BillingService/Charge",
    ]
    assert len({traces[name] for name in names}) == 1
