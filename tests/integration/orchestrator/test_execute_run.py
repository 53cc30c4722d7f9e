"""ExecuteRun: a run is created and waited for in one call."""

import asyncio
from pathlib import Path

import grpc
import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.errors import InvalidInput, InvalidRequest
from graphmesh_contracts import Overrides, to_struct
from graphmesh_orchestrator.errors import RequestIdReused

from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANGING = pb.CreateRunRequest(graph="hanging", input=to_struct({"invoice_id": "in", "amount": 1}))


async def test_it_returns_the_ended_run(mesh: Mesh) -> None:
    """In every field as GetRun."""
    invoice_id = await mesh.create_invoice(1000)
    run = await mesh.client.execute_run("pay", {"invoice_id": invoice_id, "amount": 400}, labels={"team": "a"})
    assert notes(run) == ["owes 1000", "charged 400"]
    assert run == await mesh.client.get_run(run.run_id)


async def test_it_returns_a_parked_run_with_its_questions(mesh: Mesh) -> None:
    run = await mesh.client.execute_run("ask_both", {"name": "Ada"})
    assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    assert len(run.interrupts) == 2


async def test_it_returns_the_active_run_after_max_wait(mesh: Mesh) -> None:
    """The run continues."""
    request = pb.ExecuteRunRequest(run=HANGING)
    request.max_wait.FromMilliseconds(50)
    run = (await mesh.call(pb.RunService.ExecuteRun, request)).run
    assert run.status == pb.RunStatus.RUN_STATUS_RUNNING
    assert (await mesh.client.execute_run("hanging", {"invoice_id": "in", "amount": 1}, max_wait=0.05)).run_id
    await mesh.client.cancel_run(run.run_id, "enough")
    assert (await mesh.wait(run)).status == pb.RunStatus.RUN_STATUS_CANCELLED


async def test_a_repeat_waits_for_the_same_run(mesh: Mesh) -> None:
    """Concurrent calls with a request_id make one run with one effect; `max_wait` is no part of the request."""
    invoice_id = await mesh.create_invoice()
    given = {"invoice_id": invoice_id, "amount": 5}
    runs = await asyncio.gather(
        *(mesh.client.execute_run("pay", given, request_id="once", max_wait=60 + n) for n in range(20))
    )
    assert all(run == runs[0] for run in runs)
    assert await mesh.client.create_run("pay", given, request_id="once") == runs[0]
    assert await mesh.count_charges(invoice_id) == 1
    with pytest.raises(RequestIdReused):
        await mesh.client.execute_run("pay", {**given, "amount": 6}, request_id="once")


async def test_a_client_that_cancels_does_not_cancel_the_run(mesh: Mesh) -> None:
    calling = asyncio.create_task(mesh.call(pb.RunService.ExecuteRun, pb.ExecuteRunRequest(run=HANGING)))
    while not (active := await mesh.client.list_runs(status=pb.RunStatus.RUN_STATUS_RUNNING)):
        assert not calling.done()
    calling.cancel()
    await asyncio.wait({calling})
    [run] = active
    request = pb.WaitRunRequest(run_id=run.run_id)
    request.max_wait.FromMilliseconds(100)
    assert (await mesh.call(pb.RunService.WaitRun, request)).run.status == pb.RunStatus.RUN_STATUS_RUNNING


async def test_bad_fields_are_named_inside_the_run(mesh: Mesh) -> None:
    """Those of the contract, and those of the graph."""
    with pytest.raises(InvalidRequest) as refusal:
        await mesh.call(pb.RunService.ExecuteRun, pb.ExecuteRunRequest(run=pb.CreateRunRequest(graph="a/b")))
    assert [violation.field for violation in refusal.value.violations] == ["run.graph"]
    with pytest.raises(InvalidRequest) as refusal:
        await mesh.call(pb.RunService.ExecuteRun, pb.ExecuteRunRequest())
    assert [violation.field for violation in refusal.value.violations] == ["run"]
    with pytest.raises(InvalidInput) as invalid:
        await mesh.client.execute_run("pay", {"amount": 1})
    assert [violation.field for violation in invalid.value.violations] == ["run.input.invoice_id"]


async def test_a_wait_holds_no_slot(tmp_path: Path) -> None:
    """More calls wait than the service has slots and places in its queue, and others are served at once."""
    policy = Overrides(service={"max_concurrency": 1, "max_queue": 0})
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing, policy=policy) as mesh:
        calls = [
            asyncio.create_task(mesh.call(pb.RunService.ExecuteRun, pb.ExecuteRunRequest(run=HANGING)))
            for _ in range(4)
        ]
        while len(active := await mesh.client.list_runs(status=pb.RunStatus.RUN_STATUS_RUNNING)) < len(calls):
            assert not any(call.done() for call in calls)
        for run in active:
            await mesh.client.cancel_run(run.run_id, "enough")
        for ended in await asyncio.gather(*calls):
            assert ended.run.status == pb.RunStatus.RUN_STATUS_CANCELLED


async def test_both_scopes_are_required(mesh: Mesh) -> None:
    """A caller that may create runs and not read them gets no output."""
    for scopes in ("runs.write", "runs.read"):
        with pytest.raises(grpc.RpcError) as refusal:
            await _raw_call(mesh, scopes)
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def _raw_call(mesh: Mesh, scopes: str) -> pb.ExecuteRunResponse:
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        rpc = pb.RunService.ExecuteRun
        call = channel.unary_unary(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        return await call(pb.ExecuteRunRequest(run=HANGING), metadata=[(metadata.SCOPES, scopes)], timeout=60)
