"""Ended calls keep no memory of the size of their messages."""

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from graphmesh_chassis.errors import NotFound
from graphmesh_contracts import Rpc

from tests.integration.chassis.probe import Answer, Probe, Question, echo, probing

LARGE = 1_000_000
CALLS = 10
BAD = Question(text="x" * LARGE).SerializeToString()
GOOD = Question(text="x" * 98).SerializeToString() * (LARGE // 100)
"""The same field many times, of which the last one counts: no rule forbids it."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disables the garbage collector, which runs after a number of objects, however many megabytes they have."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


async def refuse(question: Any, context: Any) -> Any:
    raise NotFound


async def hang(question: Any, context: Any) -> Any:
    await asyncio.Event().wait()


async def count(question: Any, context: Any) -> Any:
    yield Answer()


async def count_and_refuse(question: Any, context: Any) -> Any:
    yield Answer()
    raise NotFound


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("rpc", "body", "payload", "seconds", "code"),
    [
        pytest.param(Probe.Ask, echo, GOOD, 10, grpc.StatusCode.OK, id="answered"),
        pytest.param(Probe.Ask, echo, BAD, 10, grpc.StatusCode.INVALID_ARGUMENT, id="invalid"),
        pytest.param(Probe.Ask, refuse, GOOD, 10, grpc.StatusCode.NOT_FOUND, id="refused"),
        pytest.param(Probe.Ask, hang, GOOD, 0.2, grpc.StatusCode.DEADLINE_EXCEEDED, id="too-late"),
        pytest.param(Probe.Count, count, GOOD, 10, grpc.StatusCode.OK, id="streamed"),
        pytest.param(Probe.Count, count, BAD, 10, grpc.StatusCode.INVALID_ARGUMENT, id="no-stream"),
        pytest.param(Probe.Count, count_and_refuse, GOOD, 10, grpc.StatusCode.NOT_FOUND, id="broken-stream"),
        pytest.param(Probe.Talk, None, BAD, 10, grpc.StatusCode.UNIMPLEMENTED, id="unknown"),
    ],
)
async def test_ended_calls_free_their_messages(
    rpc: Rpc[Any, Any], body: Any, payload: bytes, seconds: float, code: grpc.StatusCode
) -> None:
    """However a call ends, its memory is free then: a client cannot fill a server's memory with refused calls."""
    bodies = {rpc.path.rpartition("/")[2]: body} if body else {}
    async with probing(bodies) as served, grpc.aio.insecure_channel(served.address) as channel:
        await _code_of(channel, rpc, payload, seconds)
        before, _ = tracemalloc.get_traced_memory()
        codes = [await _code_of(channel, rpc, payload, seconds) for _ in range(CALLS)]
        after, _ = tracemalloc.get_traced_memory()
    assert set(codes) == {code}
    assert after - before < CALLS * LARGE / 3


async def _code_of(channel: grpc.aio.Channel, rpc: Rpc[Any, Any], payload: bytes, seconds: float) -> grpc.StatusCode:
    """Make a call and return its status code."""
    make: Any = channel.unary_stream  # also for one response, which is a stream of one on the wire
    try:
        async for _ in make(rpc.path)(payload, timeout=seconds):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
