"""All four arities of gRPC pass the same hooks."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import grpc
import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    GraphmeshError,
    InvalidRequest,
    InvalidResponse,
    MalformedMessage,
    NotFound,
    UnknownMethod,
)
from graphmesh_chassis.status import from_rpc_error
from graphmesh_chassis.testing import Served
from graphmesh_contracts import Rpc

from tests.integration.chassis.probe import Answer, Bodies, Probe, Question, arity, echo, probing

TOO_LONG = "x" * 101
NOT_UTF8 = b"\x0a\x02\xff\xff"


async def count(question: Any, context: Any) -> AsyncIterator[Any]:
    for number in range(question.number):
        yield Answer(text=question.text, number=number)


async def gather(questions: AsyncIterator[Any], context: Any) -> Any:
    return Answer(number=sum([question.number async for question in questions]))


async def talk(questions: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for question in questions:
        yield Answer(text=question.text, number=question.number)


ALL: Bodies = {"Ask": echo, "Count": count, "Gather": gather, "Talk": talk}


async def heard(asked: Any) -> None:
    """All that a caller sends: one that still sends when its call ends may see that it could not, and nothing else."""
    if isinstance(asked, AsyncIterable):
        async for _ in asked:
            pass


async def called(served: Served, rpc: Rpc[Any, Any], *sent: Any) -> list[Any]:
    """Send messages, or raw bytes, to a method of any arity, and collect what it answers."""
    method = rpc.descriptor
    async with grpc.aio.insecure_channel(served.address) as channel:
        make = getattr(channel, arity(rpc))(rpc.path, _bytes, rpc.response.FromString)
        call = make(iter(sent) if method.client_streaming else sent[0], timeout=5)
        try:
            return [answer async for answer in call] if method.server_streaming else [await call]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, rpc.tool) from error


def _bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


@pytest.mark.parametrize(
    ("rpc", "sent", "answers"),
    [
        (Probe.Ask, [Question(text="a", number=7)], [Answer(text="a", number=7)]),
        (Probe.Count, [Question(number=2)], [Answer(), Answer(number=1)]),
        (Probe.Gather, [Question(number=2), Question(number=3)], [Answer(number=5)]),
        (Probe.Talk, [Question(text="a"), Question(text="b")], [Answer(text="a"), Answer(text="b")]),
    ],
    ids=["unary-unary", "unary-stream", "stream-unary", "stream-stream"],
)
async def test_every_arity_answers(rpc: Rpc[Any, Any], sent: list[Any], answers: list[Any]) -> None:
    """Requests get through, and answers come back, one by one where they are streamed."""
    async with probing(ALL) as served:
        assert await called(served, rpc, *sent) == answers


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
async def test_bad_requests_are_refused(rpc: Rpc[Any, Any]) -> None:
    """A field that breaks its rule is named; bytes that are no message are called so; also in a stream (A3)."""
    async with probing(ALL) as served:
        with pytest.raises(InvalidRequest) as refused:
            await called(served, rpc, Question(parts=[Question(), Question(text=TOO_LONG)]))
        assert [violation.field for violation in refused.value.violations] == ["parts[1].text"]
        with pytest.raises(InvalidRequest) as refused:
            await called(served, rpc, Question(text=TOO_LONG, number=-1))
        assert {violation.field for violation in refused.value.violations} == {"text", "number"}
        with pytest.raises(MalformedMessage, match=r"graphmesh\.probe\.v1\.Question"):
            await called(served, rpc, NOT_UTF8)


async def test_later_messages_of_a_stream_are_checked_too() -> None:
    """What came before a bad message has been answered; the bad one ends the call."""
    async with probing(ALL) as served:
        with pytest.raises(InvalidRequest):
            await called(served, Probe.Talk, Question(text="a"), Question(number=-1))


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
@pytest.mark.parametrize("error", [NotFound(resource="book", id="b1"), ValueError("secret")], ids=["ours", "any"])
async def test_errors_become_statuses(rpc: Rpc[Any, Any], error: Exception) -> None:
    """One of ours keeps its reason and data; anything else is INTERNAL, and its text stays here."""

    async def fail(asked: Any, context: Any) -> Any:
        await heard(asked)
        raise error

    async def fail_in_stream(asked: Any, context: Any) -> AsyncIterator[Any]:
        await heard(asked)
        yield Answer()
        raise error

    body = fail_in_stream if rpc.descriptor.server_streaming else fail
    async with probing({rpc.method: body}) as served:
        with pytest.raises(GraphmeshError) as raised:
            await called(served, rpc, Question())
    if isinstance(error, NotFound):
        assert (raised.value.reason, raised.value.data) == (error.reason, error.data)
    else:
        assert raised.value.reason == "INTERNAL"
        assert "secret" not in f"{raised.value} {raised.value.data}"


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
async def test_bad_answers_are_not_sent(rpc: Rpc[Any, Any]) -> None:
    """A server that breaks its own contract says so, without the bad answer (H2)."""

    async def answer(asked: Any, context: Any) -> Any:
        await heard(asked)
        return Answer(text=TOO_LONG)

    async def answers(asked: Any, context: Any) -> AsyncIterator[Any]:
        await heard(asked)
        yield Answer(text=TOO_LONG)

    async with probing({rpc.method: answers if rpc.descriptor.server_streaming else answer}) as served:
        with pytest.raises(InvalidResponse) as raised:
            await called(served, rpc, Question())
        assert TOO_LONG not in str(raised.value)


async def test_an_unknown_method_is_named() -> None:
    """UNIMPLEMENTED with the method, for methods that the service has not and for services that the server has not."""
    async with probing({"Ask": echo}) as served:
        for path in ("/graphmesh.probe.v1.ProbeService/Nothing", "/graphmesh.nobody.v1.NoService/Ask"):
            with pytest.raises(UnknownMethod, match=path):
                await served.channel.unary(Rpc(path, Question, Answer), Question(), deadline=Deadline.after(5))
