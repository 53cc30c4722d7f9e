"""Deadlines shrink hop by hop, and the policy's timeout is the longest (D7)."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.integration.envoy.rig import Rig, shelf_mesh, standing


async def test_the_caller_s_deadline_reaches_the_service(rig: Rig) -> None:
    """A deadline shorter than the policy's timeout is what the service sees."""
    await rig.call(timeout=1.5)
    assert 0 < (rig.replica.seen[0].remaining or 0) < 1.6  # gRPC rounds up on the wire.


@pytest.mark.parametrize("timeout", [None, 60.0], ids=["none", "longer"])
async def test_the_policy_caps_the_deadline(tmp_path: Path, timeout: float | None) -> None:
    """Without a deadline, or with a longer one, the call gets the policy's: the service sees it and Envoy ends it."""
    async with standing(shelf_mesh(methods={"GetBook": {"timeout": "0.5s"}}), tmp_path) as rig:
        rig.replica.answer = rig.replica.held
        outcome = await rig.call(timeout=timeout)
    assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.4 < outcome.seconds < 20
    assert 0 < (rig.replica.seen[0].remaining or 0) < 0.6


async def test_a_stream_lives_as_long_as_its_policy(tmp_path: Path) -> None:
    """A stream that says nothing for longer than other methods may take is not cut before its own timeout."""
    async with standing(
        shelf_mesh(methods={"GetBook": {"timeout": "0.2s"}, "ListBooks": {"timeout": "1s"}}), tmp_path
    ) as rig:
        rig.replica.answer = rig.replica.held
        stream = rig.call.books()
        assert (await stream.read()).book_id == "first"
        assert (await rig.call()).code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not stream.done()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stream.read()
    assert failure.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL}


async def test_cancellation_travels(rig: Rig) -> None:
    """A caller that gives up stops the work in the service."""
    stopped = asyncio.Event()

    async def work(request: Any, context: Any) -> Any:
        try:
            return await rig.replica.held(request, context)
        except asyncio.CancelledError:
            stopped.set()
            raise

    rig.replica.answer = work
    call = rig.call.begin("PutBook")
    await rig.inside(1)
    call.cancel()
    async with asyncio.timeout(5):
        await stopped.wait()
