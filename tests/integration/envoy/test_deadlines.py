"""Envoy forwards the caller's deadline, bounded by the policy's timeout."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.integration.envoy.envoy_harness import EnvoyHarness, books_mesh, envoy_with_replica


async def test_the_caller_s_deadline_reaches_the_service(envoy: EnvoyHarness) -> None:
    """A deadline shorter than the policy's timeout is forwarded."""
    await envoy.call(timeout=15)
    assert 0 < (envoy.replica.received[0].remaining or 0) < 15.1  # gRPC rounds up on the wire.


@pytest.mark.parametrize("timeout", [None, 60.0], ids=["none", "longer"])
async def test_the_policy_caps_the_deadline(tmp_path: Path, timeout: float | None) -> None:
    """A call without a deadline, or with a longer one, gets the policy's, which Envoy enforces and forwards."""
    async with envoy_with_replica(books_mesh(methods={"GetBook": {"timeout": "2s"}}), tmp_path) as envoy:
        envoy.replica.handler = envoy.replica.block
        outcome = await envoy.call(timeout=timeout)
    assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 1.9 < outcome.seconds < 25
    assert 0 < (envoy.replica.received[0].remaining or 0) < 2.1


async def test_an_idle_stream_ends_at_its_own_timeout(tmp_path: Path) -> None:
    """A stream without messages ends at the timeout of its method, not at that of another method."""
    async with envoy_with_replica(
        books_mesh(methods={"GetBook": {"timeout": "0.2s"}, "ListBooks": {"timeout": "4s"}}), tmp_path
    ) as envoy:
        envoy.replica.handler = envoy.replica.block
        stream = envoy.call.list_books()
        assert (await stream.read()).book_id == "first"
        assert (await envoy.call()).code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not stream.done()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stream.read()
    assert failure.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL}


async def test_a_cancelled_call_is_cancelled_in_the_service(envoy: EnvoyHarness) -> None:
    cancelled = asyncio.Event()

    async def work(request: Any, context: Any) -> Any:
        try:
            return await envoy.replica.block(request, context)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    envoy.replica.handler = work
    call = envoy.call.start("PutBook")
    await envoy.wait_for_calls(1)
    call.cancel()
    async with asyncio.timeout(60):
        await cancelled.wait()
