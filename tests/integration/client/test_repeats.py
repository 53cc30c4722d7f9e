"""Retries of the client after a lost response: idempotent calls, other calls, pages and streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    ExecuteRunRequest,
    ListRunsRequest,
    Run,
    RunEvent,
    RunService,
    RunStatus,
    StreamRunRequest,
    StreamRunResponse,
    ThreadService,
)
from graphmesh_chassis.errors import ConnectionLost, RateLimited, Unreachable
from graphmesh_chassis.status import to_grpc
from graphmesh_client import Client
from graphmesh_contracts import Method, Rpc


@asynccontextmanager
async def losing_responses(rpc: Rpc[Any, Any], times: int) -> AsyncIterator[tuple[Client, list[bytes]]]:
    """Yield a client of a server that loses its first `times` responses, and the list of the server's requests."""
    requests: list[bytes] = []

    async def answer(request: bytes, context: Any) -> bytes:
        requests.append(request)
        if len(requests) <= times:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return b""

    async with serving(rpc, grpc.unary_unary_rpc_method_handler(answer)) as client:
        yield client, requests


@asynccontextmanager
async def serving(rpc: Method[Any, Any], handler: Any) -> AsyncIterator[Client]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.service, {rpc.method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Client(f"127.0.0.1:{port}", retry_timeout=60) as client:
            yield client
    finally:
        await server.stop(None)


async def test_create_run_is_retried_with_the_same_request_id() -> None:
    """So that a lost response never leads to a second run."""
    async with losing_responses(RunService.CreateRun, 2) as (client, requests):
        await client.create_run("support", {"message": "?"})
    ids = {CreateRunRequest.FromString(request).request_id for request in requests}
    assert (len(requests), len(ids)) == (3, 1)
    assert ids != {""}


async def test_execute_run_is_retried_with_the_same_request_id() -> None:
    """And so waits for the run of the first attempt."""
    async with losing_responses(RunService.ExecuteRun, 2) as (client, requests):
        await client.execute_run("support", {"message": "?"}, max_wait=0)
    sent = [ExecuteRunRequest.FromString(request) for request in requests]
    assert (len(sent), len({request.run.request_id for request in sent})) == (3, 1)
    assert sent[0].run.request_id


async def test_a_call_that_is_not_idempotent_is_not_retried() -> None:
    """The error has `may_have_happened`."""
    async with losing_responses(ThreadService.ForkThread, 1) as (client, requests):
        with pytest.raises(ConnectionLost) as lost:
            await client.threads.fork("th_1")
    assert lost.value.may_have_happened
    assert len(requests) == 1


async def test_a_time_to_retry_beyond_the_limit_of_retries_is_not_waited_for() -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        await context.abort_with_status(to_grpc(RateLimited(retry_after=86_400)))
        return b""

    async with serving(RunService.CreateRun, grpc.unary_unary_rpc_method_handler(refuse)) as client:
        with pytest.raises(RateLimited) as refused:
            await client.create_run("support", {"message": "?"})
    assert refused.value.retry_after == 86_400


def test_a_client_is_made_outside_of_its_event_loop_and_belongs_to_it() -> None:
    client = Client("127.0.0.1:1", retry_timeout=0)
    with asyncio.Runner() as runner:
        for _ in range(2):
            with pytest.raises(Unreachable):
                runner.run(client.get_run("run_1"))
        with pytest.raises(RuntimeError, match="one event loop"), asyncio.Runner() as other:
            other.run(client.get_run("run_1"))
        runner.run(client.aclose())


async def test_a_list_is_read_page_by_page() -> None:
    """The client requests as many as it needs, and stops at the last page."""
    requests: list[ListRunsRequest] = []

    async def pages(request: bytes, context: Any) -> bytes:
        requests.append(ListRunsRequest.FromString(request))
        runs = [Run(run_id=f"{len(requests)}-{number}") for number in range(requests[-1].page_size)]
        return RunService.ListRuns.response(runs=runs, next_page_token=str(len(requests))).SerializeToString()

    async with serving(RunService.ListRuns, grpc.unary_unary_rpc_method_handler(pages)) as client:
        runs = await client.list_runs(graph="support", status=RunStatus.RUN_STATUS_ERROR, limit=1200)
    assert len(runs) == len({run.run_id for run in runs}) == 1200
    assert [(one.page_size, one.page_token, one.graph) for one in requests] == [
        (500, "", "support"),
        (500, "1", "support"),
        (200, "2", "support"),
    ]


async def test_a_broken_stream_resumes_after_the_last_event() -> None:
    """Over several connections."""
    requested: list[int] = []

    async def broken(request: bytes, context: Any) -> AsyncIterator[bytes]:
        after = StreamRunRequest.FromString(request).after_seq
        requested.append(after)
        for seq in range(after + 1, min(after + 4, 11)):
            yield StreamRunResponse(event=RunEvent(seq=seq)).SerializeToString()
        if after + 4 <= 10:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    async with serving(RunService.StreamRun, grpc.unary_stream_rpc_method_handler(broken)) as client:
        seen = [event.seq async for event in client.stream_run("run_1")]
    assert seen == list(range(1, 11))
    assert requested == [0, 3, 6, 9]
