"""Runs as JSON over HTTP/1.1 through the edge, as curl and browsers' tools speak it (A5)."""

import json
from typing import Any

import pytest
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_mesh.topology import Listener

from tests.acceptance.shop import OwnShop
from tests.integration.envoy.test_edge import Reply, fetch

pytestmark = pytest.mark.asyncio(loop_scope="session")

INPUT = {"customer_id": "cu_1017", "message": "How do I clean a nib?"}


@pytest.fixture
def edge(shop: OwnShop) -> Listener:
    return shop.running.mesh.edge


async def send(edge: Listener, method: str, path: str, body: Any) -> Reply:
    return await fetch(edge, method, path, json.dumps(body).encode(), {"content-type": "application/json"})


async def post(edge: Listener, body: Any) -> Reply:
    return await send(edge, "POST", "/v1/runs", body)


async def test_a_run_from_beginning_to_end(edge: Listener) -> None:
    """Create, wait, get; and its events, one in a line, from the first to the last and without a gap."""
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


async def test_a_submission_is_made_once(edge: Listener) -> None:
    """The same request id with the same body is the same run; with another body it is refused (A4)."""
    first, again = [await post(edge, {"graph": "support", "input": INPUT, "requestId": "r-2"}) for _ in range(2)]
    assert first.json["run"]["runId"] == again.json["run"]["runId"]
    other = await post(edge, {"graph": "support", "input": {**INPUT, "message": "Something else"}, "requestId": "r-2"})
    assert (other.status, reasons(other)) == (409, ["REQUEST_ID_REUSED"])


async def test_a_thread_from_beginning_to_end(edge: Listener) -> None:
    """Make it, let a run work on it, read and change its state, fork it, and delete it (B7)."""
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
async def test_a_bad_body_is_400_and_names_the_field(edge: Listener, body: Any, field: str) -> None:
    """What breaks a rule of the API or of the graph's input is the caller's to mend, by name (A3)."""
    reply = await post(edge, body)
    assert reply.status == 400
    assert field in reply.json["message"]
    assert field in [
        broken["field"] for detail in reply.json["details"] for broken in detail.get("fieldViolations", [])
    ]


async def test_what_is_no_json_is_400(edge: Listener) -> None:
    """Neither a broken body nor one whose values are of another type gets to the orchestrator."""
    assert (await fetch(edge, "POST", "/v1/runs", b"{", {"content-type": "application/json"})).status == 400
    assert (await post(edge, {"graph": "support", "input": "How do I clean a nib?"})).status == 400
    assert (await fetch(edge, "GET", "/v1/graphs?colour=red")).status == 400


async def test_what_is_not_there_is_404(edge: Listener) -> None:
    """An unknown path, an unknown run, and a tool service: clients have no way to it but a graph."""
    for path in ("/v1/nothing", "/", "/v1/runs/run_0", "/graphmesh.billing.v1.BillingService/Charge"):
        reply = await fetch(edge, "GET", path)
        assert reply.status == 404, path
        assert reply.json["code"] == 5


def reasons(reply: Reply) -> list[str]:
    return [detail["reason"] for detail in reply.json["details"] if "reason" in detail]
