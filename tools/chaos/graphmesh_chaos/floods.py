"""Attacks by calls that are valid, or whose token is forged, at a high rate."""

import asyncio
import hmac
import json
from asyncio import StreamReader, StreamWriter
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    CreateScheduleRequest,
    GetRunRequest,
    ListSchedulesRequest,
    PutItemRequest,
    RunService,
    ScheduleService,
    SearchItemsRequest,
    StoreService,
    TriggerScheduleRequest,
)

from graphmesh_chaos.attack_target import (
    Attack,
    Send,
    Target,
    body_of,
    call,
    framed,
    in_turn,
    repeated,
    request_headers,
)
from graphmesh_chaos.http2_connection import Http2Connection

LOOP = "loop"
"""The name of a graph of many supersteps."""
LOOP_FILE = Path(__file__).parent / "graphs" / "loop.py"
UNKNOWN_RUN = GetRunRequest(run_id="run_unknown")
TENANTS = 100
ITEMS = 1_000
MANY_NULLS = json.dumps({"graph": "echo", "input": {"text": [None] * 10_000}}, separators=(",", ":")).encode()
"""Below the 64 KiB that a client may send at once."""


def create_run(target: Target, text: str, graph: str = "", webhook: str = "") -> CreateRunRequest:
    request = CreateRunRequest(graph=graph or target.graph, webhook_url=webhook)
    request.input.update({"text": text})
    return request


def run_of(text: str, graph: str = "") -> Send:
    """A new run."""
    headers = request_headers(RunService.CreateRun)

    def send(target: Target, connection: Http2Connection) -> None:
        target.send(connection, headers, framed(create_run(target, text, graph)))

    return send


def of_many_tenants(target: Target, connection: Http2Connection) -> None:
    tenant = f"hostile-{target.sent % TENANTS}"
    headers = request_headers(RunService.GetRun, authorization=f"Bearer {target.token(tenant)}")
    target.send(connection, headers, framed(UNKNOWN_RUN))


def stored_item(target: Target, connection: Http2Connection) -> None:
    request = PutItemRequest(namespace=["flood"], key=str(target.sent % ITEMS))
    request.value.update({"text": "x" * 10_000})
    target.send(connection, request_headers(StoreService.PutItem), framed(request))


def search() -> Send:
    request = SearchItemsRequest(page_size=500)
    request.filter.update({"text": {"$gt": "y"}})
    return call(StoreService.SearchItems, request)


def new_schedule(target: Target, connection: Http2Connection) -> None:
    request = CreateScheduleRequest(schedule_id=f"schedule-{target.sent}")
    request.spec.run.CopyFrom(create_run(target, "x"))
    request.spec.cron = "0 0 1 1 *"
    target.send(connection, request_headers(ScheduleService.CreateSchedule), framed(request))


def triggered(target: Target, connection: Http2Connection) -> None:
    """One that was created ten rounds before."""
    request = TriggerScheduleRequest(schedule_id=f"schedule-{target.sent - 31}")
    target.send(connection, request_headers(ScheduleService.TriggerSchedule), framed(request))


def announced_run(target: Target, connection: Http2Connection) -> None:
    request = create_run(target, "x", webhook=f"http://{target.receiver.target}/")
    target.send(connection, request_headers(RunService.CreateRun), framed(request))


async def webhooks(target: Target) -> None:
    """Runs whose ends are announced to a receiver that accepts each delivery and never answers."""

    async def receive(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(receive, target.receiver.address, target.receiver.port)
    try:
        await repeated(announced_run, 100)(target)
    finally:
        server.close()


def json_calls() -> Send:
    plain = {"content_type": "", "te": ""}
    read = body_of(RunService.GetRun, b"", **{":method": "GET", ":path": "/v1/runs/run_unknown"}, **plain)
    large = {":path": "/v1/runs", "content_type": "application/json", "te": ""}
    return in_turn(*([read] * 20), body_of(RunService.CreateRun, MANY_NULLS, **large))


def encoded(part: object) -> str:
    """A part of a token."""
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def forgeries(target: Target) -> list[str]:
    """Tokens that no issuer has made."""
    header, claims, signature = target.token().split(".")
    stated = json.loads(urlsafe_b64decode(claims + "=="))
    [key] = json.loads(target.folder.issuer_jwks.read_bytes())["keys"]
    confused = f"{encoded({'alg': 'HS256', 'kid': key['kid']})}.{claims}"
    by_public_key = hmac.digest(json.dumps(key).encode(), confused.encode(), "sha256")
    return [
        f"{header}.{claims}.{signature[::-1]}",
        f"{header}.{encoded({**stated, 'tenant': 'watcher'})}.{signature}",
        f"{encoded({'alg': 'none', 'kid': key['kid']})}.{claims}.",
        f"{encoded({'alg': 'ES256', 'kid': 'unknown'})}.{claims}.{signature}",
        f"{confused}.{urlsafe_b64encode(by_public_key).rstrip(b'=').decode()}",
        f"{header}.{encoded({**stated, 'roles': ['x'] * 3_000})}.{signature}",
        "x" * 20_000,
        "." * 10_000,
    ]


async def forged_tokens(target: Target) -> None:
    calls = [call(RunService.GetRun, UNKNOWN_RUN, authorization=f"Bearer {token}") for token in forgeries(target)]
    await repeated(in_turn(*calls), 500)(target)


FLOODS: dict[str, Attack] = {
    "forged-tokens": forged_tokens,
    "flood-of-runs": repeated(run_of("x"), 100),
    "flood-of-long-runs": repeated(run_of("x", LOOP), 100),
    "flood-of-grpc-web": repeated(
        call(RunService.GetRun, UNKNOWN_RUN, content_type="application/grpc-web+proto", x_grpc_web="1"), 500
    ),
    "flood-of-json": repeated(json_calls(), 500),
    "flood-of-items": repeated(in_turn(stored_item, search()), 300),
    "flood-of-schedules": repeated(
        in_turn(new_schedule, triggered, call(ScheduleService.ListSchedules, ListSchedulesRequest())), 300
    ),
    "webhooks": webhooks,
    "many-tenants": repeated(of_many_tenants, 300),
}
"""The floods by name."""
