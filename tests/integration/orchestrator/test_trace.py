"""One trace from the client's call to the effects of its run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.orchestrator.mesh import notes, serve_billing, serve_orchestrator


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans by OTLP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collect_spans() -> AsyncIterator[tuple[Collector, str]]:
    """Yield a collector and its endpoint."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_run_is_in_the_trace_of_its_submission(tmp_path: Path) -> None:
    """The spans of CreateRun and of the tool calls of the run have one trace id, where every call is sampled."""
    async with collect_spans() as (collector, endpoint), serve_billing(tmp_path) as billing:
        traced: dict[str, Any] = {"traces": "otlp", "otlp_endpoint": endpoint, "trace_ratio": 1}
        async with serve_orchestrator(tmp_path, billing, **traced) as mesh:
            run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
            assert notes(run)[-1] == "charged 5"
    traces = {span.name: span.trace_id for span in collector.spans}
    names = [
        "graphmesh.orchestrator.v1.RunService/CreateRun",
        "graphmesh.billing.v1.BillingService/GetInvoice",
        "graphmesh.billing.v1.BillingService/Charge",
    ]
    assert len({traces[name] for name in names}) == 1
