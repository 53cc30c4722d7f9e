"""One trace from the client through Envoy to the databases, also of a run whose worker was killed."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh.telemetry.v1 import GetTraceRequest, Span, TelemetryService
from graphmesh_chassis.errors import NotFound
from graphmesh_client import Client
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import (
    LocalMesh,
    MeshClient,
    accept_refund,
    output,
    refund_request,
    start_mesh,
    wait_for_node,
)
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVOICE = "INV-1"
SERVICES = ("orchestrator", "billing", "crm", "model", "retrieval", "ticketing")


async def trace_of(mesh: MeshClient, run_id: str, awaited: Callable[[Sequence[Span]], bool]) -> Sequence[Span]:
    """Return the spans of a run that has ended, when all of them have arrived, the awaited ones among them.

    Leaves of the trace are awaited: nothing else states that they are missing.
    """
    async with asyncio.timeout(60):
        while True:
            spans: Sequence[Span] = ()
            with suppress(NotFound):
                spans = (await mesh.call(TelemetryService.GetTrace, GetTraceRequest(run=run_id))).spans
            ids = {span.span_id for span in spans}
            roots = [span for span in spans if not span.parent_span_id]
            if roots and awaited(spans) and all(span.parent_span_id in ids for span in spans if span.parent_span_id):
                return spans
            await asyncio.sleep(0.1)


def path_to(span: Span, spans: Sequence[Span]) -> list[str]:
    """Return the services of a span and of those above it, the root first."""
    by_id = {one.span_id: one for one in spans}
    path = [span.service]
    while span.parent_span_id:
        span = by_id[span.parent_span_id]
        path.insert(0, span.service)
    return path


def check_times(spans: Sequence[Span]) -> None:
    """Each span lies within the one above it. Processes read the clock apart from each other: by a millisecond.

    A service notices later than its caller that a call is cut off.
    """
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if parent := by_id.get(span.parent_span_id):
            early = parent.start_time.ToNanoseconds() - span.start_time.ToNanoseconds()
            late = span.end_time.ToNanoseconds() - parent.end_time.ToNanoseconds()
            assert early < 1_000_000, (parent.name, span.name, early)
            assert late < 1_000_000 or span.error_type == "CANCELLED", (parent.name, span.name, late)


def is_whole(spans: Sequence[Span]) -> bool:
    """Report whether spans have the attempt that was cut off, and the effect of the last one."""
    died = any(span.name == "attempt" and span.error_type == "PROCESS_DIED" for span in spans)
    return died and any(span.name == "INSERT effects" and span.service == "billing" for span in spans)


async def begin_refund(mesh: LocalMesh, client: Client) -> Run:
    await mesh.create_customer()
    await mesh.create_paid_invoice(INVOICE)
    message = {"customer_id": "cu_mira", "message": refund_request(INVOICE)}
    created = await client.create_run("support", message)
    run = await client.wait_run(created.run_id, timeout=60)
    assert run.status == RunStatus.RUN_STATUS_INTERRUPTED
    return run


async def test_run_is_one_trace_whichever_process_dies(tmp_path: Path, spawn: Spawner) -> None:
    """From its creation over a question to the customer, and the death of its worker in an effect, to its end."""
    needed = mesh_of(tmp_path, *SERVICES)
    async with start_mesh(tmp_path, spawn, needed, receiver=True) as mesh, mesh.client() as client:
        run = await begin_refund(mesh, client)
        with mesh.writes_blocked("billing"):
            await accept_refund(client, run.run_id)
            await wait_for_node(client, run.run_id, "refund")
            await mesh.kill("orchestrator")
        await mesh.restore()
        assert output(await client.wait_run(run.run_id, timeout=60))["outcome"] == "refunded"
        spans = await trace_of(mesh, run.run_id, is_whole)
    [root] = [span for span in spans if not span.parent_span_id]
    assert (root.name, len({span.trace_id for span in spans})) == ("run support", 1)
    check_times(spans)
    names = [span.name for span in spans]
    assert {"queue", "parked", "tool billing.Refund"} <= set(names)
    attempts = [span for span in spans if span.name == "attempt"]
    assert [span.error_type for span in attempts if span.failed] == ["PROCESS_DIED"]
    assert len(attempts) == 3
    refunds = [span for span in spans if span.name == "INSERT effects" and span.service == "billing"]
    assert refunds
    assert path_to(refunds[-1], spans)[-4:] == ["orchestrator", "envoy", "billing", "billing"]
    assert {span.service for span in spans} >= {"orchestrator", "envoy", "billing", "crm", "model", "retrieval"}
