"""Nothing that a client causes is noticed by another tenant: attacks on a mesh of real processes, at both listeners."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from graphmesh.billing.v1 import BillingService, GetTrialBalanceRequest
from graphmesh.orchestrator.v1 import GetRunRequest, ListRunsRequest, RunService
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit
from graphmesh_contracts import Rpc

from tests.acceptance.local_mesh import LocalMesh

pytestmark = pytest.mark.asyncio(loop_scope="session")

Headers = tuple[tuple[str, str], ...]
Attack = Callable[[grpc.aio.Channel, str, Message, Headers], Awaitable[str]]
CALLERS, CALLS = 8, 60


def with_deadline(seconds: float) -> Attack:
    async def call(channel: grpc.aio.Channel, path: str, request: Message, headers: Headers) -> str:
        rpc: Any = channel.unary_unary(path)
        call = rpc(request.SerializeToString(), timeout=seconds, metadata=headers)
        return await outcome(call)

    return call


def cancelled_after(seconds: float) -> Attack:
    async def call(channel: grpc.aio.Channel, path: str, request: Message, headers: Headers) -> str:
        rpc: Any = channel.unary_unary(path)
        call = rpc(request.SerializeToString(), timeout=60, metadata=headers)
        await asyncio.wait({asyncio.ensure_future(call.code())}, timeout=seconds)
        call.cancel()
        return await outcome(call)

    return call


async def outcome(call: Any) -> str:
    """Return the code of a call, or the reason where it got no slot.

    Envoy closes connections on which most calls are cancelled early.
    """
    code, details = await call.code(), await call.details() or ""
    if "Stream removed" in details:
        return "CUT_OFF"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.startswith("The service processes "):
        return ConcurrencyLimit.reason
    is_explained = code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return f"{code.name}: {details}" if is_explained else str(code.name)


async def attack(
    mesh: LocalMesh, at: str, rpc: Rpc[Any, Any], request: Message, one: Attack, watched: asyncio.Event
) -> Counter[str]:
    """Make many calls at once until the other tenant has made enough, and count their codes. No tenant makes so
    many that it exceeds the edge's rate."""
    codes: Counter[str] = Counter()

    async def repeat(caller: int) -> None:
        async with mesh.raw_channel() if at == "mesh" else grpc.aio.insecure_channel(mesh.edge) as channel:
            for number in count():
                tenant = f"caller-{caller}-{number}"
                edge_headers = (mesh.for_tenant(tenant).authorization,)
                headers = edge_headers if at == "edge" else mesh.signed_headers(rpc, tenant)
                for _ in range(CALLS):
                    codes[await one(channel, rpc.path, request, headers)] += 1
                if watched.is_set():
                    return

    await asyncio.gather(*(repeat(caller) for caller in range(CALLERS)))
    return codes


async def watch(mesh: LocalMesh, attacking: asyncio.Task[Counter[str]], watched: asyncio.Event) -> None:
    """Call both services as another tenant, during the attack and some time after it; every call must succeed."""
    watcher = mesh.for_tenant("watcher")
    headers = (watcher.authorization,)
    calls, calls_after = 0, 0
    async with Channel(mesh.edge) as edge:
        while calls_after < 20:
            deadline = Deadline.after(60)
            await edge.unary(RunService.ListRuns, ListRunsRequest(), deadline=deadline, headers=headers)
            await watcher.call(BillingService.GetTrialBalance, GetTrialBalanceRequest())
            calls += 1
            if calls == 20:
                watched.set()
            calls_after += attacking.done()


@pytest.mark.parametrize(
    "one",
    [with_deadline(0.001), with_deadline(0.003), with_deadline(0.01), cancelled_after(0.002)],
    ids=["1ms", "3ms", "10ms", "cancelled"],
)
@pytest.mark.parametrize("at", ["edge", "mesh"])
async def test_another_tenant_s_calls_succeed(mesh: LocalMesh, at: str, one: Attack) -> None:
    """Short deadlines and cancellations at the orchestrator and at a tool service. The caller gets its own outcome:
    CONCURRENCY_LIMIT where no slot became free before its deadline, and never UNAVAILABLE, which its mesh would count
    as a failure of the replica."""
    targets: dict[str, tuple[Rpc[Any, Any], Message]] = {
        "edge": (RunService.GetRun, GetRunRequest(run_id="run_unknown")),
        "mesh": (BillingService.GetTrialBalance, GetTrialBalanceRequest()),
    }
    watched = asyncio.Event()
    attacking = asyncio.create_task(attack(mesh, at, *targets[at], one, watched))
    try:
        await watch(mesh, attacking, watched)
    finally:
        watched.set()
    own = {"OK", "NOT_FOUND", "DEADLINE_EXCEEDED", ConcurrencyLimit.reason, "CANCELLED", "CUT_OFF"}
    assert set(await attacking) <= own
