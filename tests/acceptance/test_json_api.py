"""Runs and threads as JSON over HTTP/1.1 through the edge."""

import json
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_chassis.errors import Unauthenticated
from graphmesh_client import Client
from graphmesh_local.development_issuer import ADVICE
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.acceptance.local_mesh import LocalMesh
from tests.integration.envoy.http_client import HttpResponse, fetch

pytestmark = pytest.mark.asyncio(loop_scope="session")

INPUT = {"customer_id": "cu_1017", "message": "How do I clean a nib?"}


async def post(mesh: LocalMesh, body: Any) -> HttpResponse:
    return await mesh.fetch("POST", "/v1/runs", body)


async def test_create_wait_get_and_stream_a_run(mesh: LocalMesh) -> None:
    """The events are one in a line, without a gap in their numbers."""
    begun = await post(mesh, {"graph": "support", "input": INPUT, "requestId": "r-1"})
    assert begun.status == 200
    path = f"/v1/runs/{begun.json['run']['runId']}"
    ended = (await mesh.fetch("GET", f"{path}:wait?maxWait=30s")).json["run"]
    assert ended["status"] == RunStatus.Name(RunStatus.RUN_STATUS_SUCCESS)
    assert ended["output"]["outcome"] == "answered"
    assert (await mesh.fetch("GET", path)).json["run"] == ended
    events = await mesh.fetch("GET", f"{path}/events")
    lines = [json.loads(line)["event"] for line in events.body.splitlines()]
    assert [int(line["seq"]) for line in lines] == list(range(1, int(ended["lastSeq"]) + 1))
    assert lines[-1]["statusChanged"]["status"] == ended["status"]
    resumed = await mesh.fetch("GET", f"{path}/events?afterSeq={len(lines) - 1}")
    assert [json.loads(line)["event"] for line in resumed.body.splitlines()] == lines[-1:]


async def test_create_and_wait_in_one_call(mesh: LocalMesh) -> None:
    """The body is that of a new run."""
    body = {"graph": "support", "input": INPUT, "requestId": "r-3"}
    ended = (await mesh.fetch("POST", "/v1/runs:execute?maxWait=30s", body)).json["run"]
    assert (ended["status"], ended["output"]["outcome"]) == ("RUN_STATUS_SUCCESS", "answered")
    assert (await post(mesh, body)).json["run"] == ended
    refused = await mesh.fetch("POST", "/v1/runs:execute", {"graph": "a/b"})
    assert (refused.status, reasons(refused)) == (400, ["INVALID_REQUEST"])


async def test_a_request_id_makes_one_run(mesh: LocalMesh) -> None:
    """The same request id with the same body gets the same run; with another body it is refused."""
    first, again = [await post(mesh, {"graph": "support", "input": INPUT, "requestId": "r-2"}) for _ in range(2)]
    assert first.json["run"]["runId"] == again.json["run"]["runId"]
    other = await post(mesh, {"graph": "support", "input": {**INPUT, "message": "Something else"}, "requestId": "r-2"})
    assert (other.status, reasons(other)) == (409, ["REQUEST_ID_REUSED"])


async def test_create_use_fork_and_delete_a_thread(mesh: LocalMesh) -> None:
    """With a run on it, and reads and updates of its state."""
    made = await mesh.fetch("POST", "/v1/threads", {"threadId": "t-1", "graph": "support", "timeToLive": "3600s"})
    assert made.json["thread"]["status"] == "THREAD_STATUS_IDLE"
    begun = await post(mesh, {"graph": "support", "input": INPUT, "threadId": "t-1"})
    ended = await mesh.fetch("GET", f"/v1/runs/{begun.json['run']['runId']}:wait?maxWait=30s")
    got = await mesh.fetch("GET", "/v1/threads/t-1/state")
    assert got.status == 200, got.json
    state = got.json["state"]
    assert state["values"]["outcome"] == ended.json["run"]["output"]["outcome"]
    states = (await mesh.fetch("GET", "/v1/threads/t-1/states?pageSize=500")).json["states"]
    assert states[0] == state
    forked = await mesh.fetch("POST", "/v1/threads/t-1:fork", {"newThreadId": "t-2"})
    assert forked.json["thread"]["graph"] == "support"
    changed = await mesh.fetch("POST", "/v1/threads/t-2/state", {"values": {"outcome": "escalated"}})
    assert changed.json["state"]["values"]["outcome"] == "escalated", changed.json
    wrong = await mesh.fetch("POST", "/v1/threads/t-2/state", {"values": {"colour": "red"}})
    assert (wrong.status, reasons(wrong)) == (400, ["INVALID_INPUT"])
    for thread in ("t-1", "t-2"):
        assert (await mesh.fetch("DELETE", f"/v1/threads/{thread}")).status == 200
        assert (await mesh.fetch("GET", f"/v1/threads/{thread}")).status == 404
    pruned = await mesh.fetch("POST", "/v1/threads:prune", {"unusedFor": "0s", "dryRun": True})
    assert pruned.status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"graph": "support", "input": {"customer_id": "cu_1"}}, "input.message"),
        ({"graph": "support", "input": {"customer_id": "no such id!", "message": "x"}}, "input.customer_id"),
        ({"graph": "not a name!", "input": INPUT}, "graph"),
        ({"graph": "support"}, "input"),
        ({"graph": "support", "input": INPUT, "recursionLimit": -1}, "recursion_limit"),
    ],
)
async def test_an_invalid_body_is_400_and_names_the_field(mesh: LocalMesh, body: Any, field: str) -> None:
    """For rules of the API and of the graph's input."""
    reply = await post(mesh, body)
    assert reply.status == 400
    assert field in reply.json["message"]
    assert field in [
        broken["field"] for detail in reply.json["details"] for broken in detail.get("fieldViolations", [])
    ]


async def test_invalid_json_is_400(mesh: LocalMesh) -> None:
    """A broken body, a value of another type and an unknown parameter do not reach the orchestrator."""
    assert (await mesh.fetch("POST", "/v1/runs", b"{")).status == 400
    assert (await post(mesh, {"graph": "support", "input": "How do I clean a nib?"})).status == 400
    assert (await mesh.fetch("GET", "/v1/graphs?colour=red")).status == 400


async def test_unknown_resources_are_404(mesh: LocalMesh) -> None:
    """An unknown path, an unknown run, and a tool service, which clients reach through graphs only."""
    for path in ("/v1/nothing", "/", "/v1/runs/run_0", "/graphmesh.billing.v1.BillingService/Charge"):
        reply = await mesh.fetch("GET", path)
        assert reply.status == 404, path
        assert reply.json["code"] == 5


async def test_a_caller_without_a_token_gets_the_command_that_prints_one(mesh: LocalMesh) -> None:
    """For an expired or forged one too, at every path; the health of services is open."""
    edge = mesh.running.mesh.edge
    for path in ("/v1/graphs", "/openapi.json", "/v1/nothing"):
        refused = await fetch(edge, "GET", path)
        assert (refused.status, reasons(refused)) == (401, ["UNAUTHENTICATED"])
        assert refused.json["message"] == f"Jwt is missing: {ADVICE}"
    forged = await mesh.fetch("GET", "/v1/graphs", headers={"authorization": "Bearer a.b.c"})
    assert (forged.status, forged.json["message"].endswith(ADVICE)) == (401, True)
    async with Client(mesh.edge, token="") as client:
        with pytest.raises(Unauthenticated, match=f"^Jwt is missing: {ADVICE}"):
            await client.list_graphs()
    async with grpc.aio.insecure_channel(mesh.edge) as channel:
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING


def reasons(reply: HttpResponse) -> list[str]:
    return [detail["reason"] for detail in reply.json["details"] if "reason" in detail]
