"""One trace from the client's call to the effects of its run, whichever processes execute it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.telemetry import names
from graphmesh_client import Client
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.orchestrator import subagent_graph
from tests.integration.orchestrator.mesh import Mesh, billing_proxy, notes, serve_billing, serve_orchestrator
from tests.integration.orchestrator.test_stubborn_process import address_in

HERE = Path(__file__).parent
CARD = "4111 1111 1111 1111"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans by OTLP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return ExportTraceServiceResponse()

    def of_run(self, run: pb.Run) -> Sequence[Span]:
        """Return all spans of the trace of a run; none where it has none.

        One that a process was exporting when it was killed may have arrived twice.
        """
        [trace, *others] = {span.trace_id for span in self.spans if value(span, names.RUN) == run.run_id} or {b""}
        assert not others
        return list({span.span_id: span for span in self.spans if span.trace_id == trace}.values())


def value(span: Span, name: str) -> Any:
    """Return an attribute; empty where it is absent."""
    found = {attribute.key: attribute.value for attribute in span.attributes}
    return getattr(found[name], found[name].WhichOneof("value") or "", "") if name in found else ""


def named(spans: Iterable[Span], name: str) -> list[Span]:
    """Return the spans with a name, in the order in which they began."""
    return sorted((span for span in spans if span.name == name), key=lambda span: span.start_time_unix_nano)


def require_connected(spans: Sequence[Span]) -> Span:
    """Check that spans are one tree, each within its parent. Returns the root.

    A run may end before the call that has created it returns.
    """
    by_id = {span.span_id: span for span in spans}
    [root] = [span for span in spans if not span.parent_span_id]
    for span in spans:
        if span is root:
            continue
        assert span.parent_span_id in by_id, f"{span.name} is an orphan"
        parent = by_id[span.parent_span_id]
        assert parent.start_time_unix_nano <= span.start_time_unix_nano, f"{span.name} begins before {parent.name}"
        is_within = span.end_time_unix_nano <= parent.end_time_unix_nano
        assert is_within or span.name.endswith("CreateRun"), f"{span.name} ends after {parent.name}"
    return root


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


@asynccontextmanager
async def traced_mesh(folder: Path, ratio: float, **settings: Any) -> AsyncIterator[tuple[Mesh, Collector]]:
    """Yield a mesh that exports spans; all of them have arrived when the block has ended."""
    (folder / "deciding.py").write_text((HERE / "deciding_graph.py").read_text())
    async with collect_spans() as (collector, endpoint), serve_billing(folder) as billing:
        traced = {"traces": "otlp", "otlp_endpoint": endpoint, "trace_ratio": ratio, **settings}
        async with serve_orchestrator(folder, billing, **traced) as mesh:
            yield mesh, collector


async def test_run_is_in_the_trace_of_its_submission(tmp_path: Path) -> None:
    """The spans of CreateRun and of the tool calls of the run have one trace id, where every call is sampled."""
    async with traced_mesh(tmp_path, 1) as (mesh, collector):
        run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
        assert notes(run)[-1] == "charged 5"
    spans = collector.of_run(run)
    assert require_connected(spans).name == "run pay"
    [create] = named(spans, "graphmesh.orchestrator.v1.RunService/CreateRun")
    [queue], [attempt] = named(spans, "queue"), named(spans, "attempt")
    assert create.parent_span_id == queue.parent_span_id == attempt.parent_span_id
    assert [value(span, names.STEP) for span in named(spans, "node charge")] == [2]
    [charge] = named(spans, "tool billing.Charge")
    assert charge.parent_span_id == named(spans, "node charge")[0].span_id
    [call] = named(spans, "graphmesh.billing.v1.BillingService/Charge")
    assert call.parent_span_id == charge.span_id


@asynccontextmanager
async def process(folder: Path, mesh: str, endpoint: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """An orchestrator of its own process with the traced graph, which is killed at the end unless it has ended."""
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"traced": f"{HERE / 'traced_graph.py'}:graph"}}))
    (folder / "log").unlink(missing_ok=True)
    with (folder / "log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "graphmesh_orchestrator", "--listen=127.0.0.1:0", f"--mesh={mesh}"),
            *(f"--database-url=sqlite+aiosqlite:///{folder}/runs.db", f"--graphs={graphs}", "--traces=otlp"),
            *(f"--otlp-endpoint={endpoint}", "--trace-ratio=1", f"--span-folder={folder / 'spans'}"),
            env=dict(os.environ),
            stdout=log,
            stderr=log,
        )
    try:
        yield started, await address_in(folder / "log")
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_run_with_retries_an_approval_and_a_killed_worker_is_one_trace(tmp_path: Path) -> None:
    """No orphan, each span within its parent, and gaps that state what they have waited for."""
    (tmp_path / "spans").mkdir()
    gate = tmp_path / "gate"
    async with collect_spans() as (collector, endpoint):
        traced = {"traces": "otlp", "otlp_endpoint": endpoint, "trace_ratio": 0}
        async with serve_billing(tmp_path, **traced) as billing, billing_proxy(billing) as proxy:
            invoice = await Mesh(tmp_path, billing, billing, Client(billing.address)).create_invoice()
            async with process(tmp_path, proxy.address, endpoint) as (first, address), Client(address) as client:
                run = await client.create_run("traced", {"invoice_id": invoice, "gate": str(gate)})
                parked = await client.wait_run(run.run_id)
                proxy.refusals.append(grpc.StatusCode.UNAVAILABLE)
                await client.approvals.respond(parked.interrupts[0].approval_id, approve=True)
                await eventually(gate.with_name("gate.reached").exists)
                first.kill()
            gate.touch()
            async with process(tmp_path, proxy.address, endpoint) as (second, address), Client(address) as client:
                assert (await client.wait_run(run.run_id)).status == pb.RunStatus.RUN_STATUS_SUCCESS
                await eventually(lambda: any(value(span, names.REASON) == "PROCESS_DIED" for span in collector.spans))
                second.terminate()
                await second.wait()
    spans = collector.of_run(run)
    root = require_connected(spans)
    assert (root.name, value(root, names.END), value(root, names.EPOCH)) == ("run traced", "success", 3)
    attempts = named(spans, "attempt")
    assert [value(span, names.REASON) for span in attempts] == ["", "PROCESS_DIED", ""]
    assert [value(span, names.EPOCH) for span in attempts] == [1, 2, 3]
    assert [value(span, names.END) for span in attempts] == ["interrupted", "", "success"]
    assert [value(span, names.WAITED_FOR) for span in named(spans, "parked")] == ["the approval of billing.Charge"]
    assert [value(span, names.WAITED_FOR) for span in named(spans, "takeover")] == [
        "a worker, since that of epoch 2 has died"
    ]
    assert [value(span, names.WAITED_FOR) for span in named(spans, "queue")] == ["its turn or a worker", "a worker"]
    assert [value(span, names.ATTEMPTS) for span in named(spans, "tool billing.Charge")] == [2, 1, 1]
    assert [value(span, names.ROUTE) for span in named(spans, "route")] == ["halfway"]
    assert [value(span, names.TRIGGER) for span in named(spans, "route")] == ["notes=[1]"]


async def test_subagent_is_in_the_trace_of_its_caller(tmp_path: Path) -> None:
    """Sampled or not: a part of a trace is never kept without the rest."""
    (tmp_path / "subagent.py").write_text(f"from {subagent_graph.__name__} import graph\n")
    runs: dict[float, pb.Run] = {}
    collectors: dict[float, Collector] = {}
    for ratio in (1.0, 0.0):
        async with traced_mesh(tmp_path, ratio) as (mesh, collectors[ratio]):
            subagent_graph.ADDRESS[:] = [mesh.address]
            runs[ratio] = await mesh.run("subagent", text="ink", amount=5)
            assert notes(runs[ratio])
    spans = collectors[1.0].of_run(runs[1.0])
    require_connected(spans)
    [delegate], [inner] = named(spans, "node delegate"), named(spans, "run deciding")
    assert inner.parent_span_id == delegate.span_id
    assert not collectors[0.0].spans


async def test_nothing_of_a_run_that_is_not_sampled_is_written(tmp_path: Path) -> None:
    async with traced_mesh(tmp_path, 0) as (mesh, collector):
        await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
    assert not collector.spans


@pytest.mark.parametrize(
    ("graph", "given", "settings"),
    [
        ("failing", {}, {}),
        ("pay", {"amount": 5}, {"trace_slow_seconds": 1e-9}),
    ],
    ids=["failed", "slow"],
)
async def test_what_is_worth_it_is_written_although_it_is_not_sampled(
    tmp_path: Path, graph: str, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Whole: the nodes and the calls of tools."""
    async with traced_mesh(tmp_path, 0, **settings) as (mesh, collector):
        run = await mesh.run(graph, invoice_id=await mesh.create_invoice(), **{"amount": 1, **given})
        await written(collector, run)
    spans = collector.of_run(run)
    root = require_connected(spans)
    assert root.name == f"run {graph}"
    events = {span.name for span in spans}
    assert {"queue", "attempt"} < events
    assert any(name.startswith("node ") for name in events)
    if graph == "pay":
        assert [value(span, names.ATTEMPTS) for span in named(spans, "tool billing.Charge")] == [1]
    else:
        assert value(root, names.REASON) == "NODE_FAILED"


async def test_a_run_that_parks_is_written_although_it_is_not_sampled(tmp_path: Path) -> None:
    """With its gap, and once."""
    async with traced_mesh(tmp_path, 0) as (mesh, collector):
        run = await mesh.run("ask_twice", name="ink")
        while run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED:
            await mesh.resume(run, {run.interrupts[0].interrupt_id: "yes"})
            run = await mesh.wait(run)
        await written(collector, run)
    spans = collector.of_run(run)
    require_connected(spans)
    waits = [value(span, names.WAITED_FOR) for span in named(spans, "parked")]
    assert len(waits) == len(named(spans, "attempt")) - 1
    assert all(wait.startswith("an answer to ") for wait in waits)
    ends = [value(span, names.END) for span in named(spans, "attempt")]
    assert ends == ["interrupted"] * len(waits) + ["success"]


async def written(collector: Collector, run: pb.Run) -> None:
    """Wait until the span of a run has arrived."""
    await eventually(lambda: any(span.name.startswith("run ") for span in collector.of_run(run)))


async def test_spans_have_no_contents(tmp_path: Path) -> None:
    """Neither of inputs, nor of what a route has looked at, whatever is sampled."""
    async with traced_mesh(tmp_path, 1) as (mesh, collector):
        run = await mesh.run("deciding", text=f"card {CARD}", amount=500)
    spans = collector.of_run(run)
    assert "4111" not in str(spans)
    [taken] = [span for span in named(spans, "route") if value(span, names.ROUTE) == "hand_over"]
    assert "text=card [card:" in value(taken, names.TRIGGER)
