"""Runs and threads as JSON over HTTP/1.1 through the edge."""

import json
from typing import Any

import pytest
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_mesh.service import Listener

from tests.acceptance.local_mesh import LocalMesh
from tests.integration.envoy.http_client import HttpResponse, fetch

pytestmark = pytest.mark.asyncio(loop_scope="session")

INPUT = {"customer_id": "cu_1017", "message": "How do I clean a nib?"}


@pytest.fixture
def edge(mesh: LocalMesh) -> Listener:
    return mesh.running.mesh.edge


async def send(edge: Listener, method: str, path: str, body: Any) -> HttpResponse:
    return await fetch(edge, method, path, json.dumps(body).encode(), {"content-type": "application/json"})


async def post(edge: Listener, body: Any) -> HttpResponse:
    return await send(edge, "POST", "/v1/runs", body)


async def test_create_wait_get_and_stream_a_run(edge: Listener) -> None:
    """The events are one in a line, without a gap in their numbers."""
    begun = await post(edge, {"graph": "support", "input": INPUT, "requestId": "r-1"})
    assert begun.status == 200
    path = f"/v1/runs/{begun.json['run']['runId']}"
    ended = (await fetch(edge, "GET", f"{path}:wait?maxWait=30s")).json["run"]
    assert ended["status"] == RunStatus.Name(RunStatus.RUN_STATUS_SUCCESS)
    assert ended["output"]["outcome"] == "answered"
    assert (await fetch(edge, "GET", path)).json["run"] == ended
    events = await fetch(edge, "GET", f"{path}/events")
    lines = [json.loads(line)["event"] for line in events.body.splitlines()]
    assert [int(line["seq"]) for line in lines] == list(range(1, int(ended["lastSeq"]) + 1))
    assert lines[-1]["statusChanged"]["status"] == ended["status"]
    resumed = await fetch(edge, "GET", f"{path}/events?afterSeq={len(lines) - 1}")
    assert [json.loads(line)["event"] for line in resumed.body.splitlines()] == lines[-1:]


async def test_create_and_wait_in_one_call(edge: Listener) -> None:
    """The body is that of a new run."""
    body = {"graph": "support", "input": INPUT, "requestId": "r-3"}
    ended = (await send(edge, "POST", "/v1/runs:execute?maxWait=30s", body)).json["run"]
    assert (ended["status"], ended["output"]["outcome"]) == ("RUN_STATUS_SUCCESS", "answered")
    assert (await post(edge, body)).json["run"] == ended
    refused = await send(edge, "POST", "/v1/runs:execute", {"graph": "a/b"})
    assert (refused.status, reasons(refused)) == (400, ["INVALID_REQUEST"])


async def test_a_request_id_makes_one_run(edge: Listener) -> None:
    """The same request id with the same body gets the same run; with another body it is refused."""
    first, again = [await post(edge, {"graph": "support", "input": INPUT, "requestId": "r-2"}) for _ in range(2)]
    assert first.json["run"]["runId"] == again.json["run"]["runId"]
    other = await post(edge, {"graph": "support", "input": {**INPUT, "message": "Something else"}, "requestId": "r-2"})
    assert (other.status, reasons(other)) == (409, ["REQUEST_ID_REUSED"])


async def test_create_use_fork_and_delete_a_thread(edge: Listener) -> None:
    """With a run on it, and reads and updates of its state."""
    made = await send(edge, "POST", "/v1/threads", {"threadId": "t-1", "graph": "support", "timeToLive": "3600s"})
    assert made.json["thread"]["status"] == "THREAD_STATUS_IDLE"
    begun = await post(edge, {"graph": "support", "input": INPUT, "threadId": "t-1"})
    ended = await fetch(edge, "GET", f"/v1/runs/{begun.json['run']['runId']}:wait?maxWait=30s")
    state = (await fetch(edge, "GET", "/v1/threads/t-1/state")).json["state"]
    assert state["values"]["outcome"] == ended.json["run"]["output"]["outcome"]
    states = (await fetch(edge, "GET", "/v1/threads/t-1/states?pageSize=500")).json["states"]
    assert states[0] == state
    forked = await send(edge, "POST", "/v1/threads/t-1:fork", {"newThreadId": "t-2"})
    assert forked.json["thread"]["graph"] == "support"
    changed = await send(edge, "POST", "/v1/threads/t-2/state", {"values": {"outcome": "escalated"}})
    assert changed.json["state"]["values"]["outcome"] == "escalated", changed.json
    wrong = await send(edge, "POST", "/v1/threads/t-2/state", {"values": {"colour": "red"}})
    assert (wrong.status, reasons(wrong)) == (400, ["INVALID_INPUT"])
    for thread in ("t-1", "t-2"):
        assert (await fetch(edge, "DELETE", f"/v1/threads/{thread}")).status == 200
        assert (await fetch(edge, "GET", f"/v1/threads/{thread}")).status == 404
    pruned = await send(edge, "POST", "/v1/threads:prune", {"unusedFor": "0s", "dryRun": True})
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
async def test_an_invalid_body_is_400_and_names_the_field(edge: Listener, body: Any, field: str) -> None:
    """For rules of the API and of the graph's input."""
    reply = await post(edge, body)
    assert reply.status == 400
    assert field in reply.json["message"]
    assert field in [
        broken["field"] for detail in reply.json["details"] for broken in detail.get("fieldViolations", [])
    ]


async def test_invalid_json_is_400(edge: Listener) -> None:
    """A broken body, a value of another type and an unknown parameter do not reach the orchestrator."""
    assert (await fetch(edge, "POST", "/v1/runs", b"{", {"content-type": "application/json"})).status == 400
    assert (await post(edge, {"graph": "support", "input": "How do I clean a nib?"})).status == 400
    assert (await fetch(edge, "GET", "/v1/graphs?colour=red")).status == 400


async def test_unknown_resources_are_404(edge: Listener) -> None:
    """An unknown path, an unknown run, and a tool service, which clients reach through graphs only."""
    for path in ("/v1/nothing", "/", "/v1/runs/run_0", "/graphmesh.billing.v1.BillingService/Charge"):
        reply = await fetch(edge, "GET", path)
        assert reply.status == 404, path
        assert reply.json["code"] == 5


def reasons(reply: HttpResponse) -> list[str]:
    return [detail["reason"] for detail in reply.json["details"] if "reason" in detail]
