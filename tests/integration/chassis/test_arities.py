"""Methods of all four arities have the same hooks."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import grpc
import pytest
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    GraphmeshError,
    InvalidRequest,
    InvalidResponse,
    MalformedMessage,
    NotFound,
    UnknownMethod,
)
from graphmesh_chassis.serve import serving
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.status import from_rpc_error
from graphmesh_chassis.testing import Served
from graphmesh_contracts import Method, Rpc

from tests.integration.chassis import probe
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


async def read_all(incoming: Any) -> None:
    """Read all requests. A client that still sends when its call ends may only see that sending failed."""
    if isinstance(incoming, AsyncIterable):
        async for _ in incoming:
            pass


async def call_with(served: Served, rpc: Method[Any, Any], *sent: Any) -> list[Any]:
    """Send messages, or raw bytes, to a method of any arity, and return its responses."""
    method = rpc.descriptor
    async with grpc.aio.insecure_channel(served.address) as channel:
        make = getattr(channel, arity(rpc))(rpc.path, _bytes, rpc.response.FromString)
        call = make(iter(sent) if method.client_streaming else sent[0], timeout=60)
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
async def test_every_arity_responds(rpc: Method[Any, Any], sent: list[Any], answers: list[Any]) -> None:
    """Streamed responses arrive one by one."""
    async with probing(ALL) as served:
        assert await call_with(served, rpc, *sent) == answers


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
async def test_bad_requests_are_refused(rpc: Method[Any, Any]) -> None:
    """The error names the fields that violate a rule, or the type that cannot be parsed; also in a stream."""
    async with probing(ALL) as served:
        with pytest.raises(InvalidRequest) as refused:
            await call_with(served, rpc, Question(parts=[Question(), Question(text=TOO_LONG)]))
        assert [violation.field for violation in refused.value.violations] == ["parts[1].text"]
        with pytest.raises(InvalidRequest) as refused:
            await call_with(served, rpc, Question(text=TOO_LONG, number=-1))
        assert {violation.field for violation in refused.value.violations} == {"text", "number"}
        with pytest.raises(MalformedMessage, match=r"graphmesh\.probe\.v1\.Question"):
            await call_with(served, rpc, NOT_UTF8)


async def test_later_requests_of_a_stream_are_validated() -> None:
    """A bad request ends the call after responses to earlier ones."""
    async with probing(ALL) as served:
        with pytest.raises(InvalidRequest):
            await call_with(served, Probe.Talk, Question(text="a"), Question(number=-1))


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
@pytest.mark.parametrize("error", [NotFound(resource="book", id="b1"), ValueError("secret")], ids=["mesh", "other"])
async def test_errors_become_statuses(rpc: Method[Any, Any], error: Exception) -> None:
    """An error of the mesh keeps its reason and data; any other becomes INTERNAL, and its text is not sent."""

    async def fail(incoming: Any, context: Any) -> Any:
        await read_all(incoming)
        raise error

    async def fail_in_stream(incoming: Any, context: Any) -> AsyncIterator[Any]:
        await read_all(incoming)
        yield Answer()
        raise error

    body = fail_in_stream if rpc.descriptor.server_streaming else fail
    async with probing({rpc.method: body}) as served:
        with pytest.raises(GraphmeshError) as raised:
            await call_with(served, rpc, Question())
    if isinstance(error, NotFound):
        assert (raised.value.reason, raised.value.data) == (error.reason, error.data)
    else:
        assert raised.value.reason == "INTERNAL"
        assert "secret" not in f"{raised.value} {raised.value.data}"


@pytest.mark.parametrize("rpc", [Probe.Ask, Probe.Count, Probe.Gather, Probe.Talk], ids=lambda rpc: rpc.method)
async def test_bad_responses_are_not_sent(rpc: Method[Any, Any]) -> None:
    """A response that violates the contract becomes an error without its contents."""

    async def answer(incoming: Any, context: Any) -> Any:
        await read_all(incoming)
        return Answer(text=TOO_LONG)

    async def answers(incoming: Any, context: Any) -> AsyncIterator[Any]:
        await read_all(incoming)
        yield Answer(text=TOO_LONG)

    async with probing({rpc.method: answers if rpc.descriptor.server_streaming else answer}) as served:
        with pytest.raises(InvalidResponse) as raised:
            await call_with(served, rpc, Question())
        assert TOO_LONG not in str(raised.value)


async def test_responses_are_not_validated_in_production() -> None:
    """With the defaults of the settings; the test kit of the chassis turns it on."""

    async def answer(incoming: Any, context: Any) -> Any:
        return Answer(text=TOO_LONG)

    servable, settings = probe.servable({"Ask": answer}), ServerSettings()
    async with serving("probe", servable, settings) as server, Channel(server.address) as channel:
        response = await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))
    assert response.text == TOO_LONG


async def test_unknown_method_is_named() -> None:
    """The status is UNIMPLEMENTED for unknown methods of a service and for unknown services."""
    async with probing({"Ask": echo}) as served:
        for path in ("/graphmesh.probe.v1.ProbeService/Nothing", "/graphmesh.nobody.v1.NoService/Ask"):
            with pytest.raises(UnknownMethod, match=path):
                await served.channel.unary(Rpc(path, Question, Answer), Question(), deadline=Deadline.after(60))
